"""The only writer of a status. Each move is a compare-and-set, and each move is an event: who, when, why.

An UPDATE whose WHERE repeats the status that the caller believed in, and a row count that says who won:
no locks, and the same on SQLite and PostgreSQL. docs/lifecycle.md is drawn from these tables.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import transaction

from webapp.accounts.models import User
from webapp.jobs.checkpoints import newest_checkpoint, thin
from webapp.jobs.clock import database_now
from webapp.jobs.events import NewEvent, append_events
from webapp.jobs.fair_share import release_slots
from webapp.jobs.models import ENDED_JOB, HELD_JOB, OPEN_ATTEMPT, Attempt, AttemptStatus, Job, JobStatus
from webapp.jobs.progress import Progress, ended
from webapp.jobs.retries import Failure, backoff_seconds, poison, used_up

S, A = JobStatus, AttemptStatus

JOB_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    S.DRAFT: frozenset({S.QUEUED, S.CANCELLED}),
    S.QUEUED: frozenset({S.STARTING, S.CANCELLED, S.FAILED}),
    S.STARTING: frozenset({S.RUNNING, S.QUEUED, S.STOPPING, S.PAUSING, S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.RUNNING: frozenset({S.QUEUED, S.STOPPING, S.PAUSING, S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.PAUSING: frozenset({S.PAUSED, S.STOPPING, S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.STOPPING: frozenset({S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}
ATTEMPT_MOVES: Mapping[AttemptStatus, frozenset[AttemptStatus]] = {
    A.CLAIMED: frozenset({A.RUNNING, A.SUCCEEDED, A.FAILED, A.STOPPED, A.LOST}),
    A.RUNNING: frozenset({A.SUCCEEDED, A.FAILED, A.STOPPED, A.LOST}),
    A.SUCCEEDED: frozenset(),
    A.FAILED: frozenset(),
    A.STOPPED: frozenset(),
    A.LOST: frozenset({A.FENCED}),
    A.FENCED: frozenset(),
}


def move_job(
    job: Job,
    to: JobStatus,
    *,
    why: str,
    by: User | None = None,
    attempt: Attempt | None = None,
    only_from: Collection[JobStatus] = (),
    **fields: Any,
) -> bool:
    """Moves the job to `to` if its status allows it; `fields` are written with it. False: someone else was faster.

    `only_from` narrows the statuses that JOB_MOVES allows.

    `job` need not be fresh: the database decides. Afterwards its status and fields are as stored.
    """
    with transaction.atomic():
        believed = Job.objects.select_for_update().filter(pk=job.pk).values_list("status", flat=True).first()
        if believed is None or to not in JOB_MOVES[JobStatus(believed)] or (only_from and believed not in only_from):
            return False
        now = database_now()
        changes = {"status": to, **_times_of(JobStatus(believed), to, now), **fields}
        if not Job.objects.filter(pk=job.pk, status=believed).update(**changes):
            return False
        who = by.name if by else (f"worker {attempt.worker.name}" if attempt else "Nibble")
        state = {"from": believed, "to": to.value, "why": why, "who": who}
        append_events(job.pk, [NewEvent("state", state, now)], attempt=attempt, by=by)
        for name, value in changes.items():
            setattr(job, name, value)
        if to in ENDED_JOB:
            thin(Job.objects.get(pk=job.pk))
    return True


def _times_of(believed: JobStatus, to: JobStatus, now: datetime) -> dict[str, Any]:
    """A job that comes back from a worker keeps its place in the queue; one that was paused joins at the end."""
    if to == S.QUEUED:
        return {"queued_at": now} if believed not in HELD_JOB else {}
    if to == S.STARTING:
        return {"started_at": now}
    return {"ended_at": now} if to in ENDED_JOB else {}


def move_attempt(
    attempt: Attempt,
    to: AttemptStatus,
    *,
    why: str = "",
    cause: str = "",
    told: Mapping[str, Any] | None = None,
    **conditions: Any,
) -> bool:
    """Moves the attempt if its status allows it and `conditions` (fence, lease_until__lt ...) hold. An end gives its slots back.

    `cause` is kept when it did not end in order; `told` are further figures of the event.
    """
    with transaction.atomic():
        believed = Attempt.objects.select_for_update().filter(pk=attempt.pk).values_list("status", flat=True).first()
        if believed is None or to not in ATTEMPT_MOVES[AttemptStatus(believed)]:
            return False
        now = database_now()
        times = {"started_at": now} if to == A.RUNNING else {} if to == A.FENCED else {"ended_at": now}
        changes = {"status": to, **times, **({"end_cause": cause} if cause else {})}
        if not Attempt.objects.filter(pk=attempt.pk, status=believed, **conditions).update(**changes):
            return False
        data = {
            "number": attempt.number,
            "from": believed,
            "to": to.value,
            "why": why,
            "worker": attempt.worker.name,
            **(told or {}),
        }
        append_events(attempt.job_id, [NewEvent("attempt", data, now)], attempt=attempt)
        if to not in OPEN_ATTEMPT:
            release_slots(attempt, at=now)
    for name, value in changes.items():
        setattr(attempt, name, value)
    return True


def ask_to_stop(job: Job, *, stop: Job.Stop, by: User, why: str) -> bool:
    """A held job is asked through the reply to its worker's next batch; its worker ends it."""
    if move_job(job, S.STOPPING, why=why, by=by, stop_requested=stop):
        return True
    # Already stopping: save may still become discard, never the other way round (the worker may have thrown it away).
    if stop != Job.Stop.DISCARD:
        return False
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, status=S.STOPPING, stop_requested=Job.Stop.SAVE)
        if not waiting.update(stop_requested=stop):
            return False
        state = {"from": S.STOPPING.value, "to": S.STOPPING.value, "why": why, "who": by.name}
        append_events(job.pk, [NewEvent("state", state, database_now())], attempt=None, by=by)
    return True


def lose_attempt(attempt: Attempt, *, why: str, **conditions: Any) -> bool:
    """The worker is gone: its attempt is lost, and the job is tried again or has been tried often enough."""
    with transaction.atomic():
        if not move_attempt(attempt, A.LOST, why=why, cause="worker_lost", **conditions):
            return False
        job = Job.objects.select_for_update().get(pk=attempt.job_id)
        # Its silence was a pause already: a job whose worker was missed for a whole lease need not wait once more.
        heard_of = attempt.lease_until - timedelta(seconds=settings.LEASE_SECONDS)
        failure = Failure(cause="worker_lost", message=why, advice="Look at the worker's log (DATA/logs) and at its memory.")
        requeue(job, attempt=attempt, why=why, failure=failure, since=heard_of)
    return True


def requeue(job: Job, *, attempt: Attempt, why: str, failure: Failure | None = None, since: datetime | None = None) -> bool:
    """What becomes of a job whose attempt ended and did not finish it: lost, drained, cut off, paused, or ended by its machine.

    Called after the attempt was closed, in the same transaction. With a `failure` that is retried it counts as a retry and waits
    (counted from `since`); without one the attempt ended in order. The place in the queue is kept.
    """
    if job.status not in HELD_JOB:
        return False
    said_by = None if attempt.status == A.LOST else attempt
    changes: dict[str, Any] = {"progress": _at_rest(job), "not_before": None}
    if job.stop_requested:
        return move_job(job, S.CANCELLED, why=f"{why} It had been asked to stop. {what_is_kept(job)}", attempt=said_by, **changes)
    if failure is not None:
        hopeless = _hopeless(job, failure)
        if hopeless:
            return move_job(job, S.FAILED, why=hopeless["message"], attempt=said_by, failure=hopeless, **changes)
        changes |= {"retries": job.retries + 1, "not_before": _not_before(job.retries + 1, since=since)}
    if job.status == S.PAUSING:
        return move_job(job, S.PAUSED, why=f"{why} {_goes_on(job)}", attempt=said_by, **changes | {"not_before": None})
    return move_job(job, S.QUEUED, why=f"{why} The job is queued again. {_goes_on(job)}", attempt=said_by, **changes)


def _hopeless(job: Job, failure: Failure) -> Failure | None:
    """What the job fails with instead of another try."""
    if job.retries >= settings.MAX_RETRIES:
        return used_up(failure, retries=job.retries)
    return poison(job.attempts.select_related("worker"))


def _not_before(retries: int, *, since: datetime | None) -> datetime | None:
    now = database_now()
    until = (since or now) + timedelta(seconds=backoff_seconds(retries))
    return until if until > now else None


def _goes_on(job: Job) -> str:
    checkpoint = newest_checkpoint(job) or job.starts_from
    return (
        f"It goes on from step {checkpoint.step:,}." if checkpoint else "It starts again from the beginning: no checkpoint is kept."
    )


def what_is_kept(job: Job) -> str:
    """Stop and save promises an adapter. When only a checkpoint came, that is what is said."""
    checkpoint = newest_checkpoint(job) if job.stop_requested == Job.Stop.SAVE else None
    if checkpoint is None:
        return "Nothing was kept."
    return f"There is no adapter, but the checkpoint of step {checkpoint.step:,} is kept: a retry can go on from it."


def _at_rest(job: Job) -> dict[str, Any]:
    """Nothing is going on any more: the last phase has ended; the figures stay."""
    return dict(ended(cast(Progress, job.progress), database_now().isoformat()))
