"""The attempts of a job and what changed its run: who had it, from which step to which, how it ended, what was repeated."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Q

from webapp.jobs.models import Attempt, AttemptStatus, Job, JobEvent
from webapp.jobs.retries import CAUSES
from webapp.jobs.told import Told, told_events

MOST_CHANGES = 6
ENDS = {
    **CAUSES,
    "drained": "its worker was drained; the work was kept",
    "paused": "paused; the work was kept",
    "offline": "its worker was cut off for too long; the work was kept",
}


@dataclass(frozen=True)
class AttemptTold:
    attempt: Attempt
    repeated: int
    """Steps that the attempt before had done and that no checkpoint had kept."""

    @property
    def place(self) -> str:
        gpu = self.attempt.gpu_index
        return f"{self.attempt.worker.name}, GPU {gpu}" if gpu is not None else self.attempt.worker.name

    @property
    def tone(self) -> str:
        return TONES[AttemptStatus(self.attempt.status)]

    @property
    def end(self) -> str:
        """Why it ended, when not in order."""
        cause = self.attempt.end_cause
        return ENDS.get(cause, cause.replace("_", " "))

    @property
    def seconds(self) -> float | None:
        if not self.attempt.ended_at:
            return None
        return max(0.0, (self.attempt.ended_at - self.attempt.claimed_at).total_seconds())


TONES = {
    AttemptStatus.CLAIMED: "accent lively",
    AttemptStatus.RUNNING: "good lively",
    AttemptStatus.SUCCEEDED: "good",
    AttemptStatus.FAILED: "bad",
    AttemptStatus.STOPPED: "",
    AttemptStatus.LOST: "warn",
    AttemptStatus.FENCED: "warn",
}


def attempts_told(job: Job) -> list[AttemptTold]:
    return list(_told(job.attempts.select_related("worker").order_by("number")))


def _told(attempts: Any) -> Iterator[AttemptTold]:
    reached = 0
    for attempt in attempts:
        yield AttemptTold(attempt, max(0, reached - attempt.first_step))
        reached = max(attempt.last_step, attempt.first_step)


def changes_told(job: Job) -> list[Told]:
    """What changed this run on its way, newest first: smaller passes, checkpoints that were refused, notices."""
    of_the_run = Q(kind__in=("replanned", "checkpoint_rejected")) | Q(kind="notice", attempt__isnull=False)
    events = JobEvent.objects.filter(of_the_run, job=job.pk).select_related("actor", "attempt__worker").order_by("-cursor")
    return told_events(events[:MOST_CHANGES])


@dataclass(frozen=True)
class Mark:
    """A line across the charts: where an attempt went on, or the plan changed. JSON for static/js/job_marks.js."""

    cursor: int
    step: int
    label: str


def marks_of(job: Job) -> dict[str, Any]:
    """{"lines": attempts that went on or began anew, and plans made smaller; "planned": whether a plan was told of at all}."""
    rows = (
        JobEvent.objects.filter(job=job.pk, kind__in=("plan", "replanned")).order_by("cursor").values_list("cursor", "kind", "data")
    )
    marks: list[Mark] = []
    planned = False
    for cursor, kind, data in rows:
        if kind == "replanned":
            marks.append(Mark(cursor, data["from_step"], "smaller passes"))
            continue
        step = data.get("resumed_from_step") or 0
        if planned or step:
            marks.append(Mark(cursor, step, "goes on" if step else "begins anew"))
        planned = True
    return {"lines": [asdict(mark) for mark in marks], "planned": planned}
