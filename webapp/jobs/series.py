"""The points of the charts, in columns. When an attempt repeats a step after a lost one, the later point wins."""

from datetime import datetime
from typing import Any

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


def series_of(job: Job) -> dict[str, Any]:
    """{"cursor", "metrics": columns by step, "memory": columns by time}; `cursor` is the last event that is in them."""
    cursor = job.last_cursor
    rows = JobEvent.objects.filter(job=job.pk, kind__in=("metrics", "memory"), cursor__lte=cursor).order_by("cursor")
    metrics: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    for kind, at, data in rows.values_list("kind", "at", "data"):
        if kind == "metrics":
            metrics.append(data)
        else:
            memory.append({**data, "at": _milliseconds(at)})
    return {"cursor": cursor, "metrics": _columns(_by_step(metrics), METRIC_COLUMNS), "memory": _columns(memory, MEMORY_COLUMNS)}


def _by_step(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One point a step: an evaluation after a step adds to its point, a repeated step replaces its values."""
    merged: dict[int, dict[str, Any]] = {}
    for point in points:
        merged[point["step"]] = {**merged.get(point["step"], {}), **point}
    return [merged[step] for step in sorted(merged)]


def _columns(points: list[dict[str, Any]], names: tuple[str, ...]) -> Columns:
    return {name: [point.get(name) for point in points] for name in names}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
