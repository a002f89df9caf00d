"""A job's curves for the comparison: by step, seconds of running and tokens, thinned to what a chart can show. Reads only.

The Compare page asks for those of a running job every five seconds: each process keeps what it has read and goes on from there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from threading import Lock
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from webapp.jobs.curve_fold import KINDS, Fold, Point
from webapp.jobs.models import Job, JobEvent

MOST_POINTS = 1000  # a line; a chart is some 700 pixels wide
MOST_KEPT = 12  # running jobs: the comparisons of two readers at once; one of 20,000 steps takes some 13 MB
MEANS = ("loss", "learning_rate")
LAST = ("step", "seconds", "tokens", "eval_loss")


@dataclass
class _Kept:
    fold: Fold = field(default_factory=Fold)
    lock: Lock = field(default_factory=Lock)


_KEPT: OrderedDict[tuple[int, datetime], _Kept] = OrderedDict()
_LOCK = Lock()


def curves_of(job: Job) -> dict[str, Any]:
    """{"curve": columns by step, "memory": columns, "memory_of": gpu or host}. What was trained again replaces what was told before."""
    kept = _kept(job)
    with kept.lock:
        for cursor, kind, at, data in _told(job, after=kept.fold.cursor):
            kept.fold.add(cursor, kind, at, data)
        return _drawn(kept.fold)


def _kept(job: Job) -> _Kept:
    """What this process has read of the job, until it ends; the longest unasked goes first. A number may be given anew, a moment not."""
    name = (job.pk, job.created_at)
    with _LOCK:
        kept = _KEPT.pop(name, None) or _Kept()
        if not job.is_ended:
            _KEPT[name] = kept
        while len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
        return kept


def _told(job: Job, *, after: int) -> Iterator[tuple[int, str, datetime, Point]]:
    """Cursors are given under the job's lock, so nothing with a smaller one comes later."""
    rows = JobEvent.objects.filter(job=job.pk, kind__in=KINDS, cursor__gt=after).order_by("cursor")
    for cursor, kind, at, text in (
        rows.annotate(text=Cast("data", TextField())).values_list("cursor", "kind", "at", "text").iterator()
    ):
        yield cursor, kind, at, orjson.loads(text)


def _drawn(fold: Fold) -> dict[str, Any]:
    of = "gpu" if any("cuda_allocated_bytes" in sample for sample in fold.memory) else "host"
    name = "cuda_allocated_bytes" if of == "gpu" else "rss_bytes"
    samples = [{**sample, "bytes": sample.get(name)} for sample in fold.memory]
    return {
        "curve": _columns(_thinned(fold.curve), (*LAST, *MEANS)),
        "memory": _columns(_highest(samples), ("step", "seconds", "tokens", "bytes")),
        "memory_of": of,
    }


def _groups(points: list[Point]) -> Iterator[list[Point]]:
    size = max(1, ceil(len(points) / MOST_POINTS))
    return (points[start : start + size] for start in range(0, len(points), size))


def _thinned(points: list[Point]) -> list[Point]:
    """Means of neighbours; of an evaluation the last."""
    return [
        {**{name: _mean(group, name) for name in MEANS}, **{name: _newest(group, name) for name in LAST}}
        for group in _groups(points)
    ]


def _highest(samples: list[Point]) -> list[Point]:
    """Of neighbours the one that took most: a peak must not vanish."""
    return [max(group, key=lambda sample: sample["bytes"] or 0) for group in _groups(samples)]


def _mean(group: list[Point], name: str) -> float | None:
    values = [point[name] for point in group if point.get(name) is not None]
    return float(f"{sum(values) / len(values):.6g}") if values else None


def _newest(group: list[Point], name: str) -> Any:
    return next((point[name] for point in reversed(group) if point.get(name) is not None), None)


def _columns(points: list[Point], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: [point.get(name) for point in points] for name in names}
