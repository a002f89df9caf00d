"""A job that smaller ones overtook for too long reserves a worker: nothing behind it is handed out there until it fits.

Only a job that this worker could run if it were empty reserves it: one that waits for several slots of one host, or for memory of
a GPU that jobs share. It reserves one worker of the pool, the one with the most free slots, where it will fit first.
"""

from datetime import datetime, timedelta

from django.conf import settings

from webapp.jobs.fair_share import Shares
from webapp.jobs.heads import Condition, Head, as_stored, first_of_each_group
from webapp.jobs.limits import Limits
from webapp.jobs.machines import machines_of, need_of
from webapp.jobs.models import Job
from webapp.pools.fit import Machine
from webapp.pools.models import Worker
from webapp.pools.selectors import online_workers
from worker.contract.orders import Claim

NOW_ALLOWED = "(f.not_before IS NULL OR f.not_before <= %s)"
SPOKEN = "f.protocol <= %s"
SMALL_ENOUGH = "f.slots <= %s AND (f.memory_bytes IS NULL OR f.memory_bytes <= %s)"
ANY_SIZE = 2**62


def claimable(machine: Machine, *, claim: Claim, now: datetime) -> Condition:
    """May go now, is understood by the worker, and is small enough for what is free at this slot."""
    return Condition(f"{NOW_ALLOWED} AND {SPOKEN} AND {SMALL_ENOUGH}", (as_stored(now), claim.protocol, *_free(machine, claim)))


def blocked_heads(worker: Worker, machine: Machine, *, claim: Claim, now: datetime) -> list[Head]:
    """Of each group the first that waits too long already, does not fit now, and would fit if the worker were empty."""
    if not machine.held:
        return []
    most = max((card.empty_bytes for card in machine.cards), default=ANY_SIZE)
    sql = f"f.queued_at <= %s AND {NOW_ALLOWED} AND {SPOKEN} AND {SMALL_ENOUGH} AND NOT ({SMALL_ENOUGH})"
    values = (as_stored(ripe_before(now)), as_stored(now), claim.protocol, machine.slots, most, *_free(machine, claim))
    return first_of_each_group(worker.pool_id, Condition(sql, values))


def _free(machine: Machine, claim: Claim) -> tuple[int, int]:
    """(slots, bytes of the slot's GPU); on a CPU the estimate, made for GPUs, is not asked."""
    card = machine.card_of(claim.slot)
    return len(machine.free_slots), min(claim.free_memory_bytes, machine.free_bytes(card)) if card else ANY_SIZE


def ripe_before(now: datetime) -> datetime:
    return now - timedelta(seconds=settings.PATIENCE_SECONDS)


def reservation(worker: Worker, blocked: list[Head], *, shares: Shares, limits: Limits) -> Head | None:
    """The first of `blocked` that its team's limits let go, if this is the worker that is kept free for it."""
    for head in sorted(blocked, key=lambda head: head.place(shares)):
        job = Job.objects.get(pk=head.job)
        if limits.room(head.team, head.owner) >= job.slots:
            return head if kept_free_for(job) == worker.pk else None
    return None


def kept_free_for(job: Job) -> int | None:
    """The worker that a blocked job waits for; None while one has room for it, which asks within seconds.

    One of an older protocol than the job's is never handed it, so its room is none.
    """
    workers = list(online_workers().filter(pool=job.pool_id, protocol__gte=job.protocol).select_related("pool"))
    machines, need = machines_of(workers), need_of(job)
    if any(machine.slots_for(need) for machine in machines.values()):
        return None
    able = [(len(machine.free_slots), -pk) for pk, machine in machines.items() if machine.fits_empty(need)]
    return -max(able)[1] if able else None
