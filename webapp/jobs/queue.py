"""The queue of a pool: its order, and an administrator's own changes to it."""

from collections.abc import Sequence

from django.db import transaction

from webapp.accounts.models import User
from webapp.accounts.permissions import may_run_pools
from webapp.jobs.events import tell
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.order import Waiting, jobs_in_order, order_of
from webapp.jobs.services import JobRefused
from webapp.pools.models import WorkerPool


def queue_of(pool: WorkerPool, *, most: int | None = None) -> list[Job]:
    """Queued jobs in the order in which they will be taken."""
    return jobs_in_order(order_of(pool.pk)[:most])


def move_in_queue(job: Job, *, by: User, position: int) -> int:
    """Puts a queued job at `position` of its pool's queue (1 is the front), as far as its priority allows; returns where it stands.

    Fair share no longer moves the jobs before it (or, if fewer stand behind it, those): an administrator's order goes first.
    Raises JobRefused.
    """
    if not may_run_pools(by):
        raise JobRefused("Only administrators may reorder the queue. Ask one of them.", code="forbidden")
    with transaction.atomic():
        WorkerPool.objects.select_for_update(no_key=True).get(pk=job.pool_id)  # no claim and no other move in between
        ordered = order_of(job.pool_id, is_fresh=True)
        moved = next((waiting for waiting in ordered if waiting.job == job.pk), None)
        if moved is None:
            raise JobRefused("Only a queued job has a place in the queue.", code="conflict")
        before = sum(waiting.priority > moved.priority for waiting in ordered)
        same = [waiting for waiting in ordered if waiting.priority == moved.priority]
        got = max(1, min(position - before, len(same)))
        job.queue_rank = _pin(same, moved, got)
        tell(job.pk, "notice", {"text": f"{by.name} moved the job to place {before + got:,} of the queue."}, by=by)
    return before + got


def _pin(same: Sequence[Waiting], moved: Waiting, position: int) -> int:
    """Ranks for as few jobs as possible: those up to the place, or those from it on. Returns the rank of the one that moved."""
    others = [waiting for waiting in same if waiting.job != moved.job]
    wanted = [*others[: position - 1], moved, *others[position - 1 :]]
    head, tail = wanted[:position], wanted[position - 1 :]
    if len(head) <= len(tail):
        above = max((waiting.rank for waiting in tail[1:]), default=0)
        ranks = {waiting.job: above + len(head) - place for place, waiting in enumerate(head)}
    else:
        below = min((waiting.rank for waiting in head[:-1]), default=0)
        ranks = {waiting.job: below - 1 - place for place, waiting in enumerate(tail)}
    for number, rank in ranks.items():
        Job.objects.filter(pk=number, status=JobStatus.QUEUED).exclude(queue_rank=rank).update(queue_rank=rank)
    return ranks[moved.job]
