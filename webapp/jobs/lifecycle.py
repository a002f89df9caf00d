"""The only writer of a status. Each move is a compare-and-set, and each move of a job is an event: who, when, why.

An UPDATE whose WHERE repeats the status that the caller believed in, and a row count that says who won:
no locks, and the same on SQLite and PostgreSQL.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.db import transaction
from django.db.models import F

from webapp.accounts.models import User
from webapp.jobs.clock import database_now
from webapp.jobs.live import ring_job
from webapp.jobs.models import ENDED_JOB, HELD_JOB, OPEN_ATTEMPT, Attempt, AttemptStatus, HeldSlot, Job, JobEvent, JobStatus
from webapp.jobs.progress import Progress, ended

S, A = JobStatus, AttemptStatus

JOB_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    S.DRAFT: frozenset({S.QUEUED, S.CANCELLED}),
    S.QUEUED: frozenset({S.STARTING, S.CANCELLED, S.FAILED}),
    S.STARTING: frozenset({S.RUNNING, S.QUEUED, S.STOPPING, S.PAUSING, S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.RUNNING: frozenset({S.QUEUED, S.STOPPING, S.PAUSING, S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.PAUSING: frozenset({S.PAUSED, S.QUEUED, S.STOPPING, S.SUCCEEDED, S.FAILED}),
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.STOPPING: frozenset({S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}
ATTEMPT_MOVES: Mapping[AttemptStatus, frozenset[AttemptStatus]] = {
    A.CLAIMED: frozenset({A.RUNNING, A.SUCCEEDED, A.FAILED, A.STOPPED, A.LOST, A.FENCED}),
    A.RUNNING: frozenset({A.SUCCEEDED, A.FAILED, A.STOPPED, A.LOST, A.FENCED}),
    A.SUCCEEDED: frozenset(),
    A.FAILED: frozenset(),
    A.STOPPED: frozenset(),
    A.LOST: frozenset({A.FENCED}),
    A.FENCED: frozenset(),
}


@dataclass(frozen=True)
class NewEvent:
    kind: str
    data: dict[str, Any]
    at: datetime
    seq: int | None = None


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
        changes = {"status": to, **_times_of(to, now), **fields}
        if not Job.objects.filter(pk=job.pk, status=believed).update(**changes):
            return False
        who = by.name if by else (f"worker {attempt.worker.name}" if attempt else "Nibble")
        state = {"from": believed, "to": to.value, "why": why, "who": who}
        append_events(job.pk, [NewEvent("state", state, now)], attempt=attempt, by=by)
    for name, value in changes.items():
        setattr(job, name, value)
    return True


def _times_of(to: JobStatus, now: datetime) -> dict[str, Any]:
    if to == S.QUEUED:
        return {"queued_at": now}
    if to == S.STARTING:
        return {"started_at": now}
    return {"ended_at": now} if to in ENDED_JOB else {}


def move_attempt(attempt: Attempt, to: AttemptStatus, **conditions: Any) -> bool:
    """Moves the attempt if its status allows it and `conditions` (fence, lease_until__lt ...) hold. An end gives its slots back."""
    sources = [source for source, targets in ATTEMPT_MOVES.items() if to in targets]
    now = database_now()
    times = {"started_at": now} if to == A.RUNNING else {"ended_at": now}
    moved = Attempt.objects.filter(pk=attempt.pk, status__in=sources, **conditions).update(status=to, **times)
    if moved:
        attempt.status = to
        if to not in OPEN_ATTEMPT:
            HeldSlot.objects.filter(attempt=attempt.pk).delete()
    return bool(moved)


def append_events(job_id: int, events: Iterable[NewEvent], *, attempt: Attempt | None, by: User | None = None) -> int:
    """Stores events under the next cursors of the job and rings once the transaction is through. Returns the last cursor.

    Must run inside a transaction: the UPDATE locks the job's row, so cursors become visible in their order.
    """
    new = list(events)
    Job.objects.filter(pk=job_id).update(last_cursor=F("last_cursor") + len(new))
    last: int = Job.objects.values_list("last_cursor", flat=True).get(pk=job_id)
    rows = [
        JobEvent(job_id=job_id, cursor=cursor, kind=e.kind, data=e.data, at=e.at, attempt=attempt, seq=e.seq, actor=by)
        for cursor, e in enumerate(new, start=last - len(new) + 1)
    ]
    JobEvent.objects.bulk_create(rows)
    transaction.on_commit(lambda: ring_job(job_id))
    return last


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


def lose_attempt(attempt: Attempt, *, why: str, most_attempts: int, **conditions: Any) -> bool:
    """The worker is gone: its attempt is lost, and the job goes back to the queue, or fails when it was tried often enough."""
    with transaction.atomic():
        if not move_attempt(attempt, A.LOST, **conditions):
            return False
        job = Job.objects.get(pk=attempt.job_id)
        if job.status not in HELD_JOB:
            return True
        if job.stop_requested:
            return move_job(job, S.CANCELLED, why=f"{why} It had been asked to stop; nothing was saved.", progress=_at_rest(job))
        if attempt.number >= most_attempts:
            failure = {
                "cause": "worker_lost",
                "message": f"The job was started {attempt.number} times and each time its worker went away.",
                "advice": "Look at the worker's log (DATA/logs) and at its memory, then clone the job.",
            }
            return move_job(job, S.FAILED, why=why, failure=failure, progress=_at_rest(job))
        return move_job(job, S.QUEUED, why=f"{why} The job is queued again.", progress=_at_rest(job))


def _at_rest(job: Job) -> dict[str, Any]:
    """Nothing is going on any more: the last phase has ended; the figures stay."""
    return dict(ended(cast(Progress, job.progress), database_now().isoformat()))
