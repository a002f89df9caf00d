"""Takes what an attempt tells: rows once, in order, under the newest fence; the reply is the order back."""

from collections.abc import Iterable
from typing import cast

from django.db import transaction

from webapp.jobs import progress as snapshot
from webapp.jobs.clock import database_now
from webapp.jobs.events import NewEvent, append_events
from webapp.jobs.leases import StaleAttempt as StaleAttempt
from webapp.jobs.leases import renew_lease as renew_lease
from webapp.jobs.lifecycle import move_attempt, move_job
from webapp.jobs.log_cap import notice, within_cap
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from webapp.jobs.peaks import Peaks, peaks_after
from worker.contract.events import AnyEvent, CheckpointSaved, MemorySampled, MetricsLogged, PlanMade, TrainingEnded
from worker.contract.orders import EventBatch, Order

ORDERS = {Job.Stop.NONE: "continue", Job.Stop.SAVE: "stop_and_save", Job.Stop.DISCARD: "stop_and_discard"}


def store_batch(attempt: Attempt, batch: EventBatch) -> Order:
    """Stores the events that are new, renews the lease and answers with the order. Raises StaleAttempt.

    A batch that came before (a lost reply) stores nothing; one that leaves a gap stores nothing and says from where to go on.
    """
    with transaction.atomic():
        renew_lease(attempt, fence=batch.fence)
        attempt.refresh_from_db(fields=["last_seq", "status", "first_step", "last_step"])
        job = Job.objects.get(pk=attempt.job_id)
        fresh = _fresh(batch, after=attempt.last_seq)
        if fresh:
            _store(job, attempt, fresh)
        return order_for(job, attempt)


def order_for(job: Job, attempt: Attempt) -> Order:
    """A stop outranks a pause."""
    order = "pause" if job.status == JobStatus.PAUSING else ORDERS[Job.Stop(job.stop_requested)]
    return Order.model_validate({"order": order, "acked_seq": attempt.last_seq})


def last_step_in(events: Iterable[AnyEvent]) -> int:
    """The highest step that the events tell of."""
    stepped = [e.step for e in events if isinstance(e, MetricsLogged | MemorySampled | CheckpointSaved)]
    return max([*stepped, *(e.results.steps for e in events if isinstance(e, TrainingEnded))], default=0)


def _fresh(batch: EventBatch, *, after: int) -> list[tuple[int, AnyEvent]]:
    if batch.first_seq > after + 1:
        return []
    return [(seq, event) for seq, event in enumerate(batch.events, start=batch.first_seq) if seq > after]


def _store(job: Job, attempt: Attempt, fresh: list[tuple[int, AnyEvent]]) -> None:
    before = cast(snapshot.Progress, job.progress)
    kept, folded = within_cap(before, fresh)
    rows = [NewEvent(e.kind, e.model_dump(mode="json", exclude={"kind", "at"}, exclude_none=True), e.at, seq) for seq, e in kept]
    if "log_left_out" in folded and "log_left_out" not in before:
        rows.append(NewEvent("notice", {"text": notice()}, database_now()))
    append_events(job.pk, rows, attempt=attempt)
    events = [event for _, event in fresh]
    for event in events:
        folded = snapshot.fold(folded, event)
    peaks = peaks_after(Peaks(job.estimated_peak_bytes, job.measured_peak_bytes), events)
    told = {"progress": folded, "estimated_peak_bytes": peaks.estimated, "measured_peak_bytes": peaks.measured}
    Job.objects.filter(pk=job.pk).update(**told)
    _advance(attempt, events, last_seq=fresh[-1][0])
    if attempt.status == AttemptStatus.CLAIMED and any(isinstance(event, PlanMade) for event in events):
        move_attempt(attempt, AttemptStatus.RUNNING, why="The model is loaded.")
        move_job(job, JobStatus.RUNNING, why="The model is loaded and the first step begins.", attempt=attempt)


def _advance(attempt: Attempt, events: list[AnyEvent], *, last_seq: int) -> None:
    """How far it has come. The first plan says from which step it really began: what it was given may have been unusable."""
    attempt.last_seq, attempt.last_step = last_seq, max(attempt.last_step, last_step_in(events))
    if attempt.status == AttemptStatus.CLAIMED:
        plan = next((event for event in events if isinstance(event, PlanMade)), None)
        attempt.first_step = plan.resumed_from_step or 0 if plan else attempt.first_step
    changes = {"last_seq": attempt.last_seq, "last_step": attempt.last_step, "first_step": attempt.first_step}
    Attempt.objects.filter(pk=attempt.pk).update(**changes)
