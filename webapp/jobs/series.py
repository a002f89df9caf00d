"""The points of the charts, in columns. What a lost attempt told of steps that are trained again is left out."""

from datetime import datetime
from typing import Any

import orjson
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from webapp.jobs.measure_words import charts_for
from webapp.jobs.models import Job, JobEvent

METRIC_COLUMNS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")
MEMORY_COLUMNS = (
    "step",
    "at",
    "rss_bytes",
    "cuda_allocated_bytes",
    "cuda_reserved_bytes",
    "cuda_peak_bytes",
    "card_used_bytes",
)
Columns = dict[str, list[Any]]
Point = dict[str, Any]


def series_of(job: Job) -> dict[str, Any]:
    """Columns: "metrics" by step, "memory" by time, "measures" by step and how to draw them; `cursor` is the last event in them."""
    cursor = job.last_cursor
    metrics = [(at, orjson.loads(text)) for at, text in _points(job, "metrics", cursor).values_list("cursor", "text")]
    restarts = [
        (at, orjson.loads(text).get("resumed_from_step") or 0)
        for at, text in _points(job, "plan", cursor).values_list("cursor", "text")
    ]
    memory = [
        {**orjson.loads(text), "at": _milliseconds(at)} for at, text in _points(job, "memory", cursor).values_list("at", "text")
    ]
    points = _by_step(_of_this_run(metrics, restarts))
    names = sorted({name for point in points for name in point.get("measures", {})})
    return {
        "cursor": cursor,
        "metrics": _columns(points, METRIC_COLUMNS),
        "memory": _columns(memory, MEMORY_COLUMNS),
        "measures": {name: [point.get("measures", {}).get(name) for point in points] for name in names},
        "measure_charts": charts_for(names),
    }


def _points(job: Job, kind: str, cursor: int) -> QuerySet[Any]:
    """With `text`, the event's data as the database holds it: orjson reads 20,000 of them in a tenth of the JSONField's time."""
    rows = JobEvent.objects.filter(job=job.pk, kind=kind, cursor__lte=cursor).order_by("cursor")
    return rows.annotate(text=Cast("data", TextField()))


def _of_this_run(metrics: list[tuple[int, Point]], restarts: list[tuple[int, int]]) -> list[Point]:
    """The points that today's weights come from: a plan says from which step its trainer goes on, and what was told of later ones is void."""
    for restart, step in restarts:
        metrics = [(at, point) for at, point in metrics if at > restart or (step and point["step"] <= step)]
    return [point for _, point in metrics]


def _by_step(points: list[Point]) -> list[Point]:
    """One point a step: an evaluation after a step adds to its point, a repeated step replaces its values."""
    merged: dict[int, Point] = {}
    for point in points:
        before = merged.get(point["step"], {})
        measures = {**before.get("measures", {}), **point.get("measures", {})}
        merged[point["step"]] = {**before, **point, **({"measures": measures} if measures else {})}
    return [merged[step] for step in sorted(merged)]


def _columns(points: list[Point], names: tuple[str, ...]) -> Columns:
    return {name: [point.get(name) for point in points] for name in names}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
