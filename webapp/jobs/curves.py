"""A job's curves for the comparison: by step, seconds of running and tokens, thinned to what a chart can show. Reads only."""

from collections.abc import Iterator
from datetime import datetime
from math import ceil
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from webapp.jobs.models import Job, JobEvent

MOST_POINTS = 1000  # a line; a chart is some 700 pixels wide
MEANS = ("loss", "learning_rate")
LAST = ("step", "seconds", "tokens", "eval_loss")
Point = dict[str, Any]


def curves_of(job: Job) -> dict[str, Any]:
    """{"curve": columns by step, "memory": columns, "memory_of": gpu or host}. What was trained again replaces what was told before."""
    curve, memory = _points(job)
    of = "gpu" if any("cuda_allocated_bytes" in sample for sample in memory) else "host"
    name = "cuda_allocated_bytes" if of == "gpu" else "rss_bytes"
    samples = [{**_place(sample), "bytes": sample.get(name)} for sample in memory]
    return {
        "curve": _columns(_thinned(curve), (*LAST, *MEANS)),
        "memory": _columns(_highest(samples), ("step", "seconds", "tokens", "bytes")),
        "memory_of": of,
    }


def _place(point: Point) -> Point:
    return {name: point.get(name) for name in ("step", "seconds", "tokens")}


def _points(job: Job) -> tuple[list[Point], list[Point]]:
    """Seconds count while a trainer runs: neither loading, nor a pause, nor the way to another machine."""
    curve: dict[int, Point] = {}
    memory: list[Point] = []
    began: datetime | None = None
    before, latest = 0.0, {"step": 0, "seconds": 0.0, "tokens": 0}
    for kind, at, data in _told(job):
        if kind == "plan":
            step = data.get("resumed_from_step") or 0
            curve = {one: point for one, point in curve.items() if one <= step}
            memory = [sample for sample in memory if sample["step"] <= step] if step else []
            latest = _place(curve[max(curve)]) if curve else {"step": 0, "seconds": 0.0, "tokens": 0}
            began, before = at, latest["seconds"]
        if began is None:  # the memory while the model loads has no place on these axes
            continue
        seconds = before + max(0.0, (at - began).total_seconds())
        if kind == "metrics":
            tokens = data.get("tokens_seen", latest["tokens"])
            latest = {"step": data["step"], "seconds": round(seconds, 2), "tokens": tokens}
            curve[data["step"]] = {**curve.get(data["step"], {}), **data, **latest}
        elif kind == "memory":
            memory.append({**data, "seconds": round(seconds, 2), "tokens": latest["tokens"]})
    return [curve[step] for step in sorted(curve)], memory


def _told(job: Job) -> Iterator[tuple[str, datetime, Point]]:
    rows = JobEvent.objects.filter(job=job.pk, kind__in=("plan", "metrics", "memory")).order_by("cursor")
    for kind, at, text in rows.annotate(text=Cast("data", TextField())).values_list("kind", "at", "text").iterator():
        yield kind, at, orjson.loads(text)


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
