"""Takes what an attempt tells: rows once, in order, under the newest fence; the reply is the order back."""

from datetime import timedelta
from typing import cast

from django.conf import settings
from django.db import transaction

from webapp.jobs import progress as snapshot
from webapp.jobs.clock import database_now
from webapp.jobs.lifecycle import NewEvent, append_events, move_attempt, move_job
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, AttemptStatus, Job, JobStatus
from worker.contract.events import AnyEvent, PlanMade
from worker.contract.orders import EventBatch, Order

ORDERS = {Job.Stop.NONE: "continue", Job.Stop.SAVE: "stop_and_save", Job.Stop.DISCARD: "stop_and_discard"}


class StaleAttempt(Exception):
    """The attempt was closed or given away; what it sends now must change nothing."""


def store_batch(attempt: Attempt, batch: EventBatch) -> Order:
    """Stores the events that are new, renews the lease and answers with the order. Raises StaleAttempt.

    A batch that came before (a lost reply) stores nothing; one that leaves a gap stores nothing and says from where to go on.
    """
    with transaction.atomic():
        renew_lease(attempt, fence=batch.fence)
        attempt.refresh_from_db(fields=["last_seq", "status"])
        job = Job.objects.get(pk=attempt.job_id)
        fresh = _fresh(batch, after=attempt.last_seq)
        if fresh:
            _store(job, attempt, fresh)
        return order_for(job, attempt)


def renew_lease(attempt: Attempt, *, fence: int) -> None:
    lease_until = database_now() + timedelta(seconds=settings.LEASE_SECONDS)
    held = Attempt.objects.filter(pk=attempt.pk, fence=fence, status__in=OPEN_ATTEMPT)
    if not held.update(lease_until=lease_until):
        raise StaleAttempt


def order_for(job: Job, attempt: Attempt) -> Order:
    return Order.model_validate({"order": ORDERS[Job.Stop(job.stop_requested)], "acked_seq": attempt.last_seq})


def _fresh(batch: EventBatch, *, after: int) -> list[tuple[int, AnyEvent]]:
    if batch.first_seq > after + 1:
        return []
    return [(seq, event) for seq, event in enumerate(batch.events, start=batch.first_seq) if seq > after]


def _store(job: Job, attempt: Attempt, fresh: list[tuple[int, AnyEvent]]) -> None:
    rows = [NewEvent(e.kind, e.model_dump(mode="json", exclude={"kind", "at"}, exclude_none=True), e.at, seq) for seq, e in fresh]
    append_events(job.pk, rows, attempt=attempt)
    attempt.last_seq = fresh[-1][0]
    Attempt.objects.filter(pk=attempt.pk).update(last_seq=attempt.last_seq)
    folded = cast(snapshot.Progress, job.progress)
    for _, event in fresh:
        folded = snapshot.fold(folded, event)
    Job.objects.filter(pk=job.pk).update(progress=folded)
    if attempt.status == AttemptStatus.CLAIMED and any(isinstance(event, PlanMade) for _, event in fresh):
        move_attempt(attempt, AttemptStatus.RUNNING)
        move_job(job, JobStatus.RUNNING, why="The model is loaded and the first step begins.", attempt=attempt)
