"""How an attempt ends, in one transaction: attempt, job, adapter and the last event together, or none of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db import transaction

from webapp.jobs import progress as snapshot
from webapp.jobs.clock import database_now
from webapp.jobs.ingest import StaleAttempt, order_for
from webapp.jobs.lifecycle import move_attempt, move_job
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from worker.contract.orders import Failed, Finish, Order, Stopped, Succeeded

Publish = Callable[..., Any]
"""adapters.services.publish_adapter: handed in by the door, since adapters stand above jobs."""

ENDS = {
    "finished": AttemptStatus.SUCCEEDED,
    "stopped_saved": AttemptStatus.STOPPED,
    "stopped_discarded": AttemptStatus.STOPPED,
    "failed": AttemptStatus.FAILED,
}


class EventsMissing(Exception):
    """Lines of events.jsonl have not arrived yet; post them first."""


def incoming_folder(attempt: Attempt) -> Path:
    """Where an attempt's files wait until it has finished."""
    return Path(settings.INCOMING_DIR) / f"{attempt.pk}-{attempt.fence}"


def finish_attempt(attempt: Attempt, finish: Finish, *, publish: Publish) -> Order:
    """Raises StaleAttempt or EventsMissing. The same Finish twice (a lost reply) changes nothing and gets the same answer."""
    to = ENDS[finish.end.outcome]
    with transaction.atomic():
        # The attempt's row first, then the job's: the order of ingest and reaper too, so that no two wait for each other.
        moved = move_attempt(attempt, to, fence=finish.fence, last_seq__gte=finish.last_seq)
        job = Job.objects.select_for_update().get(pk=attempt.job_id)
        if not moved:
            return _answer_again(job, attempt, finish, to)
        _end_job(job, attempt, finish.end, publish=publish)
    return order_for(job, attempt)


def _answer_again(job: Job, attempt: Attempt, finish: Finish, to: AttemptStatus) -> Order:
    attempt.refresh_from_db()
    if attempt.fence == finish.fence and attempt.status == to:
        return order_for(job, attempt)
    if attempt.fence == finish.fence and not attempt.ended_at and attempt.last_seq < finish.last_seq:
        raise EventsMissing(f"Lines {attempt.last_seq + 1} to {finish.last_seq} have not arrived. Post them, then finish.")
    raise StaleAttempt


def _end_job(job: Job, attempt: Attempt, end: Succeeded | Stopped | Failed, *, publish: Publish) -> None:
    """A cancel that was accepted stays a cancel, whatever the trainer managed to do meanwhile."""
    rest = snapshot.ended(cast(snapshot.Progress, job.progress), database_now().isoformat())
    if isinstance(end, Succeeded) and job.stop_requested != Job.Stop.DISCARD:
        partial = end.outcome == "stopped_saved"
        publish(job=job, attempt_folder=incoming_folder(attempt), files=end.files, results=end.results, is_partial=partial)
    if job.stop_requested:
        saved = isinstance(end, Succeeded) and job.stop_requested == Job.Stop.SAVE
        why = "Stopped as asked; the adapter up to this step was saved." if saved else "Stopped as asked; nothing was kept."
        move_job(job, JobStatus.CANCELLED, why=why, attempt=attempt, progress=rest)
    elif isinstance(end, Failed):
        failure = end.model_dump(include={"cause", "message", "advice", "exit_code"})
        move_job(job, JobStatus.FAILED, why=end.message, attempt=attempt, failure=failure, progress=rest)
    elif isinstance(end, Succeeded):
        why = f"Finished after {end.results.steps:,} steps."
        move_job(job, JobStatus.SUCCEEDED, why=why, attempt=attempt, progress=rest)
    else:
        move_job(job, JobStatus.CANCELLED, why="The trainer stopped.", attempt=attempt, progress=rest)
