"""Where a job stands, in one sentence under its progress: who asked, what is kept, what comes next. Reads only."""

from collections.abc import Callable
from typing import Any

from webapp.jobs.checkpoints import newest_checkpoint
from webapp.jobs.models import Job, JobEvent, JobStatus

S = JobStatus


def state_sentence(job: Job) -> str:
    """Empty where the page says it already: a first wait in the queue, a run, a success, a failure."""
    tell = TELLERS.get(S(job.status))
    return tell(job) if tell else ""


def _pausing(job: Job) -> str:
    who = _who_moved(job, to=S.PAUSING)
    return f"{_asked(who)} to pause. The step that runs is finished and a checkpoint is kept; then its GPU is free."


def _paused(job: Job) -> str:
    who, kept = _who_moved(job, to=S.PAUSING), newest_checkpoint(job)
    by = f" by {who}" if who else ""
    if kept is None:
        return f"Paused{by} before anything was trained that a checkpoint could keep. Resume puts it back in the queue."
    return f"Paused at step {kept.step:,}{by}; its checkpoint is kept. Resume puts it back in the queue."


def _stopping(job: Job) -> str:
    who = _who_moved(job, to=S.STOPPING)
    if job.stop_requested == Job.Stop.SAVE:
        return f"{_asked(who)} to stop. The step that runs is finished, the adapter is saved and sent, and the job ends."
    return f"{_asked(who)} to stop and keep nothing. The job ends as soon as its worker has put it down."


def _cancelled(job: Job) -> str:
    return str(_last_state(job).get("why", ""))


def _queued(job: Job) -> str:
    """A job that was there before says why it waits again, and from where it goes on."""
    came_back = job.starts_from is not None or job.attempts.exists()
    return str(_last_state(job).get("why", "")) if came_back else ""


def _asked(who: str) -> str:
    return f"{who} asked" if who else "It was asked"


def _last_state(job: Job) -> dict[str, Any]:
    event = JobEvent.objects.filter(job=job.pk, kind="state").order_by("-cursor").first()
    return event.data if event else {}


def _who_moved(job: Job, *, to: JobStatus) -> str:
    """Who asked for the last such move."""
    moved = JobEvent.objects.filter(job=job.pk, kind="state", data__to=to.value).select_related("actor").order_by("-cursor").first()
    return moved.actor.name if moved and moved.actor else ""


TELLERS: dict[JobStatus, Callable[[Job], str]] = {
    S.PAUSING: _pausing,
    S.PAUSED: _paused,
    S.STOPPING: _stopping,
    S.CANCELLED: _cancelled,
    S.QUEUED: _queued,
}
