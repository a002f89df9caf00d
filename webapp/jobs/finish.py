"""How an attempt ends, in one transaction: attempt, job, adapter and the last event together, or none of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db import transaction

from webapp.jobs import progress as snapshot
from webapp.jobs.clock import database_now
from webapp.jobs.ingest import order_for
from webapp.jobs.leases import StaleAttempt
from webapp.jobs.lifecycle import move_attempt, move_job, requeue, what_is_kept
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from webapp.jobs.retries import Failure, is_retried
from webapp.pools.services import quarantine
from worker.contract.orders import Checkpointed, Failed, Finish, Order, Stopped, Succeeded

Publish = Callable[..., Any]
"""adapters.services.publish_adapter: handed in by the door, since adapters stand above jobs."""
End = Succeeded | Stopped | Checkpointed | Failed

ENDS = {
    "finished": AttemptStatus.SUCCEEDED,
    "stopped_saved": AttemptStatus.STOPPED,
    "stopped_discarded": AttemptStatus.STOPPED,
    "checkpointed": AttemptStatus.STOPPED,
    "failed": AttemptStatus.FAILED,
}
CHECKPOINTED = {
    "asked": ("paused", "Paused as asked."),
    "draining": ("drained", "Worker {worker} is draining and saved the job's state."),
    "offline": ("offline", "Worker {worker} could not reach the dashboard for too long and saved the job's state."),
}


class EventsMissing(Exception):
    """Lines of events.jsonl have not arrived yet; post them first."""


def incoming_folder(attempt: Attempt) -> Path:
    """Where an attempt's files wait until it has finished."""
    return Path(settings.INCOMING_DIR) / f"{attempt.pk}-{attempt.fence}"


def finish_attempt(attempt: Attempt, finish: Finish, *, publish: Publish) -> Order:
    """Raises StaleAttempt or EventsMissing. The same Finish twice (a lost reply) changes nothing and gets the same answer."""
    to = ENDS[finish.end.outcome]
    cause, why = _told(attempt, finish.end)
    with transaction.atomic():
        # The attempt's row first, then the job's: the order of ingest and reaper too, so that no two wait for each other.
        moved = move_attempt(attempt, to, why=why, cause=cause, fence=finish.fence, last_seq__gte=finish.last_seq)
        job = Job.objects.select_for_update().get(pk=attempt.job_id)
        if not moved:
            return _answer_again(job, attempt, finish, to)
        _end_job(job, attempt, finish.end, why=why, publish=publish)
    return order_for(job, attempt)


def _told(attempt: Attempt, end: End) -> tuple[str, str]:
    """(end_cause, what happened in words)"""
    if isinstance(end, Failed):
        return end.cause, end.message
    if isinstance(end, Checkpointed):
        cause, why = CHECKPOINTED[end.why]
        return cause, why.format(worker=attempt.worker.name)
    if isinstance(end, Stopped):
        return "", "The trainer stopped."
    return "", f"Finished after {end.results.steps:,} steps."


def _answer_again(job: Job, attempt: Attempt, finish: Finish, to: AttemptStatus) -> Order:
    attempt.refresh_from_db()
    if attempt.fence == finish.fence and attempt.status == to:
        return order_for(job, attempt)
    if attempt.fence == finish.fence and not attempt.ended_at and attempt.last_seq < finish.last_seq:
        raise EventsMissing(f"Lines {attempt.last_seq + 1} to {finish.last_seq} have not arrived. Post them, then finish.")
    raise StaleAttempt


def _end_job(job: Job, attempt: Attempt, end: End, *, why: str, publish: Publish) -> None:
    """A cancel that was accepted stays a cancel, whatever the trainer managed to do meanwhile; else an end wins over a pause."""
    rest = snapshot.ended(cast(snapshot.Progress, job.progress), database_now().isoformat())
    if isinstance(end, Failed) and end.cause == "node_trouble":
        quarantine(attempt.worker, reason=f"{end.message} (job {job.pk}, attempt {attempt.number})")
    if isinstance(end, Succeeded) and job.stop_requested != Job.Stop.DISCARD:
        partial = end.outcome == "stopped_saved"
        publish(job=job, attempt_folder=incoming_folder(attempt), files=end.files, results=end.results, is_partial=partial)
    if isinstance(end, Checkpointed):
        requeue(job, attempt=attempt, why=why)
    elif job.stop_requested:
        saved = isinstance(end, Succeeded) and job.stop_requested == Job.Stop.SAVE
        kept = "The adapter up to this step was saved." if saved else what_is_kept(job)
        move_job(job, JobStatus.CANCELLED, why=f"Stopped as asked. {kept}", attempt=attempt, progress=rest)
    elif isinstance(end, Failed):
        _fail(job, attempt, end, rest=rest)
    else:
        to = JobStatus.SUCCEEDED if isinstance(end, Succeeded) else JobStatus.CANCELLED
        move_job(job, to, why=why, attempt=attempt, progress=rest)


def _fail(job: Job, attempt: Attempt, end: Failed, *, rest: snapshot.Progress) -> None:
    """What the machine did is tried again; what the user has to mend is not."""
    names = {"cause", "message", "advice", "exit_code", "step", "rows"}
    failure = cast(Failure, end.model_dump(mode="json", include=names))
    if is_retried(end.cause):
        requeue(job, attempt=attempt, why=end.message, failure=failure)
    else:
        move_job(job, JobStatus.FAILED, why=end.message, attempt=attempt, failure=failure, progress=rest)
