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


def stages_of(job: Job) -> list[Stage]:
    """Queued first, then the phases that the worker told of, each once with all its time: evaluations come again and again."""
    since = _since(job)
    waited = None if since else seconds_between(job.queued_at, job.started_at or job.ended_at)
    stages = {"Queued": Stage("Queued", waited, since=since)}
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


def _since(job: Job) -> str:
    return job.queued_at.isoformat() if job.status == JobStatus.QUEUED and job.queued_at else ""


def seconds_between(begin: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - begin).total_seconds()) if begin and end else None


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
