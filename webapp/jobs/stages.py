"""The progress strip: how long the job waited, and what each phase that its worker told of took. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.jobs.models import Job, JobStatus


@dataclass(frozen=True)
class Stage:
    """A stretch of the job's life on the progress strip; `since` is set while it lasts."""

    label: str
    seconds: float | None
    since: str = ""


@dataclass(frozen=True)
class Waits:
    """In the queue, over all times that the job was there."""

    seconds: float
    since: datetime | None


def waits_of(job: Job) -> Waits:
    """From the changes of state: a job that came back from a worker, or was resumed, waited more than once."""
    seconds, since = 0.0, None
    moves = job.events.filter(kind="state").order_by("cursor").values_list("at", "data__to")
    for at, to in moves:
        if since is not None:
            seconds += seconds_between(since, at) or 0.0
        since = at if to == JobStatus.QUEUED else None
    return Waits(seconds, since)


def stages_of(job: Job, waits: Waits) -> list[Stage]:
    """Queued first, then the phases that the worker told of, each once with all its time: evaluations come again and again."""
    stages = {"Queued": _queued(waits)}
    for phase in job.progress.get("phases", []):
        label, began = capitalised(phase["phase"]), datetime.fromisoformat(phase["at"])
        before = stages[label].seconds or 0.0 if label in stages else 0.0
        if phase.get("ended_at"):
            lasted = seconds_between(began, datetime.fromisoformat(phase["ended_at"])) or 0.0
            stages[label] = Stage(label, before + lasted)
        else:
            since = "" if job.is_ended else (began - timedelta(seconds=before)).isoformat()
            stages[label] = Stage(label, before or None, since=since)
    return list(stages.values())


def _queued(waits: Waits) -> Stage:
    if waits.since is None:
        return Stage("Queued", waits.seconds)
    return Stage("Queued", waits.seconds or None, since=(waits.since - timedelta(seconds=waits.seconds)).isoformat())


def seconds_between(begin: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - begin).total_seconds()) if begin and end else None


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
