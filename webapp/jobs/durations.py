"""How long jobs took lately: what an expected start and the order of a long queue are reckoned with."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from webapp.jobs.models import Job, JobStatus

LATEST = 200  # ended jobs that are looked at
FEWEST = 3  # fewer say nothing
UNKNOWN_SECONDS = 3600.0  # what a job counts for in the order of the queue while nothing has ended yet


@dataclass(frozen=True)
class Durations:
    """Seconds from start to end."""

    median: float
    p90: float
    jobs: int
    of_same_model: bool


def durations_for(job: Job) -> Durations | None:
    """Of jobs on the same base model in the pool, else of all in the pool; None while fewer than three have succeeded."""
    past = _past(job.pool_id)
    same = [seconds for model, seconds in past if model == job.base_model_id]
    if len(same) >= FEWEST:
        return _durations(same, of_same_model=True)
    return _durations([seconds for _, seconds in past], of_same_model=False) if len(past) >= FEWEST else None


def typical_seconds(pool: int) -> float:
    past = [seconds for _, seconds in _past(pool)]
    return median(past) if len(past) >= FEWEST else UNKNOWN_SECONDS


def _past(pool: int) -> list[tuple[int, float]]:
    """(base model, seconds) of the last ones that succeeded; others ended before their time."""
    ended = Job.objects.filter(pool=pool, status=JobStatus.SUCCEEDED, ended_at__isnull=False).order_by("-ended_at")[:LATEST]
    rows = ended.values_list("base_model_id", "started_at", "ended_at")
    return [(model, max(0.0, (end - begin).total_seconds())) for model, begin, end in rows if begin and end]


def _durations(seconds: Iterable[float], *, of_same_model: bool) -> Durations:
    ordered = sorted(seconds)
    return Durations(median(ordered), ordered[len(ordered) * 9 // 10], len(ordered), of_same_model)
