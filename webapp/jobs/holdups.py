"""Why no worker that is online has taken a job yet: busy, too little memory, strangers on the GPU, a full disk, kept free."""

from webapp.jobs.fair_share import shares_at
from webapp.jobs.machines import lacks_disk, need_of
from webapp.jobs.models import Job
from webapp.jobs.pool_now import PoolNow
from webapp.jobs.reservations import blocked_heads, reservation
from webapp.jobs.stored_spec import read_spec
from webapp.jobs.turns import must_avoid
from webapp.pools.fit import Card, Machine, Need
from webapp.pools.models import Worker
from webapp.templatetags.units import size
from worker.contract.orders import Claim


def hold_up(job: Job, pool: PoolNow) -> str:
    """Without a full stop. At least one worker of the pool is online."""
    need = need_of(job, spec=read_spec(job.spec))
    able = [worker for worker in pool.online if worker.protocol >= job.protocol]
    with_slots = [worker for worker in able if pool.machine(worker).free_slots]
    if not with_slots:
        busy = _all_busy(job, sum(pool.machine(worker).slots for worker in able))
        return busy if len(able) == len(pool.online) else f"{busy} on workers that are new enough for its settings"
    roomy = [worker for worker in with_slots if _has_room(worker, pool.machine(worker), need)]
    if not roomy:
        told = (_no_room(worker, pool.machine(worker), need) for worker in with_slots)
        return next(filter(None, told), "") or _narrow(job, [pool.machine(worker) for worker in with_slots])
    reasons = [_closed(job, worker, pool) for worker in roomy]
    return reasons[0] if all(reasons) else f"a worker of pool {job.pool.name} takes it within seconds"


def _all_busy(job: Job, slots: int) -> str:
    return f"the only slot of pool {job.pool.name} is busy" if slots == 1 else f"all {slots} slots of pool {job.pool.name} are busy"


def _has_room(worker: Worker, machine: Machine, need: Need) -> bool:
    told = None if machine.cards else _free_of_host(worker)
    return any(machine.slots_for(need, first=slot, told_free_bytes=told) for slot in machine.free_slots)


def _free_of_host(worker: Worker) -> int | None:
    total, used = worker.host.get("memory_total_bytes"), worker.host.get("memory_used_bytes")
    return None if total is None or used is None else total - used


def _no_room(worker: Worker, machine: Machine, need: Need) -> str:
    """What of memory is missing at the free slots of one worker; empty if memory is not what is missing."""
    if not machine.cards:
        free = _free_of_host(worker)
        if need.weights_bytes is None or free is None or need.weights_bytes <= free:
            return ""
        return f"the base model alone takes about {size(need.weights_bytes)}, and {worker.name} has {size(free)} of memory left"
    if need.memory_bytes is None:
        return ""
    cards = {card.index: card for slot in machine.free_slots if (card := machine.card_of(slot))}
    if sum(need.memory_bytes <= machine.free_bytes(card) for card in cards.values()) >= need.slots:
        return ""
    return _taken(worker, machine, max(cards.values(), key=machine.free_bytes), need.memory_bytes)


def _taken(worker: Worker, machine: Machine, card: Card, needed: int) -> str:
    wants = f"the job needs about {size(needed)}"
    if needed <= card.total_bytes and needed > card.empty_bytes:
        taken = f"{size(card.foreign_bytes)} of {size(card.total_bytes)} of GPU {card.index} on {worker.name}"
        return f"{taken} are taken by another process, and {wants}"
    if needed > card.total_bytes:
        return f"{wants}, and the free GPU of {worker.name} has {size(card.total_bytes)}"
    return f"{wants}, and {size(max(0, machine.free_bytes(card)))} are free beside the jobs on GPU {card.index} of {worker.name}"


def _narrow(job: Job, machines: list[Machine]) -> str:
    most = max(len(machine.free_slots) for machine in machines)
    return f"it takes {job.slots} slots of one machine at once, and at most {most} {'is' if most == 1 else 'are'} free on one"


def _closed(job: Job, worker: Worker, pool: PoolNow) -> str:
    """Why a worker with room for it does not take it; empty if it will."""
    if lacks_disk(worker):
        return f"{worker.name} has {size(worker.host['disk_free_bytes'])} of disk left and takes no new job"
    if must_avoid(job, worker):
        return f"its last attempt ended because of {worker.name}, so it waits for another machine"
    reserved = _reserved(job, worker, pool)
    return f"{worker.name} is kept free for job {reserved}, which waits for room there" if reserved else ""


def _reserved(job: Job, worker: Worker, pool: PoolNow) -> int | None:
    machine = pool.machine(worker)
    claim = Claim(slot=machine.free_slots[0], free_memory_bytes=2**62, protocol=worker.protocol)
    blocked = blocked_heads(worker, machine, claim=claim, now=pool.now)
    if not blocked:
        return None
    head = reservation(worker, blocked, shares=shares_at(pool.now, held=pool.held), limits=pool.limits)
    is_ahead = head is not None and any(waiting.job == head.job for waiting in pool.ahead_of(job))
    return head.job if head and is_ahead else None
