"""Why has a queued job not started? The real cause, in words; and when it will (jobs/expected.py)."""

from collections.abc import Sequence
from datetime import datetime

from webapp.disk import disk_state
from webapp.jobs.expected import StartRange as StartRange
from webapp.jobs.expected import expected_start as expected_start
from webapp.jobs.expected import why_no_start as why_no_start
from webapp.jobs.holdups import hold_up
from webapp.jobs.limits import Limits
from webapp.jobs.machines import need_of
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.order import Waiting
from webapp.jobs.pool_now import PoolNow, pool_now
from webapp.jobs.retries import CAUSES
from webapp.pools.fit import Machine, largest_card
from webapp.pools.models import Worker
from webapp.templatetags.units import duration, size


def waiting_reason(job: Job, *, pool: PoolNow | None = None) -> str:
    """Empty for a job that is not queued. `pool` saves reading the pool anew for each of many jobs."""
    if job.status != JobStatus.QUEUED:
        return ""
    pool = pool or pool_now(job.pool_id)
    return (
        disk_state().reason
        or _no_worker(job, pool)
        or _too_large(job, list(pool.machines.values()))
        or _pause(job, now=pool.now)
        or f"{_before(pool.ahead_of(job))}; {_limit(job, pool.limits) or hold_up(job, pool)}."
    )


def _no_worker(job: Job, pool: PoolNow) -> str:
    name, workers = job.pool.name, pool.workers
    if not workers:
        return f"Pool {name} has no worker yet. An administrator can add a machine in Pools & workers."
    if all(worker.state == Worker.State.DRAINING for worker in workers):
        reasons = " ".join(worker.state_reason for worker in workers if worker.state_reason)
        told = f"All workers of pool {name} are draining: they take no new job until an administrator enables one."
        return f"{told} {reasons}".strip()
    if pool.online and all(worker.protocol < job.protocol for worker in pool.online):
        return f"The workers of pool {name} are too old for these settings. Update one: join it again in Pools & workers."
    if not pool.online:
        return f"No worker of pool {name} is online. The job starts by itself when one comes back."
    return ""


def _too_large(job: Job, machines: list[Machine]) -> str:
    """For every worker of the pool, even if it were empty."""
    need, pool = need_of(job), job.pool.name
    widest = max(machine.slots for machine in machines)
    if need.slots > widest:
        return f"The job takes {need.slots} slots of one machine at once; the largest machine of pool {pool} has {widest}. Choose another pool."
    largest = largest_card(machines)
    if need.memory_bytes and all(machine.cards for machine in machines) and need.memory_bytes > largest:
        return (
            f"The job needs about {size(need.memory_bytes)} of GPU memory; the largest GPU of pool {pool} has {size(largest)}. "
            "Clone it with fewer rows a pass, shorter rows or activation checkpointing, or choose another pool."
        )
    return ""


def _pause(job: Job, *, now: datetime) -> str:
    """A retry waits a while: what failed a moment ago often fails again."""
    if job.not_before is None or job.not_before <= now:
        return ""
    last = job.attempts.select_related("worker").order_by("-number").first()
    after = (
        f", after attempt {last.number} on {last.worker.name} ended: {CAUSES[last.end_cause]}"
        if last and last.end_cause in CAUSES
        else ""
    )
    return f"Tries again in {duration((job.not_before - now).total_seconds())}{after}."


def _before(ahead: Sequence[Waiting]) -> str:
    return f"{len(ahead):,} {'job' if len(ahead) == 1 else 'jobs'} ahead" if ahead else "Next in line"


def _limit(job: Job, limits: Limits) -> str:
    return _limit_told(job, limits) if limits.room(job.team_id, job.owner_id) < job.slots else ""


def _limit_told(job: Job, limits: Limits) -> str:
    of_team, of_member = limits.team_limit(job.team_id), limits.member_limit(job.team_id, job.owner_id)
    used_by_team, used_by_member = limits.team_slots.get(job.team_id, 0), limits.member_slots.get(job.owner_id, 0)
    if of_team is not None and used_by_team + job.slots > of_team:
        return _uses(f"team {job.team.name}", used_by_team, of_team, wanted=job.slots)
    return _uses(job.owner.name, used_by_member, of_member or 0, wanted=job.slots)


def _uses(who: str, used: int, limit: int, *, wanted: int) -> str:
    if wanted > limit:
        return f"{who} may hold {limit} {'slot' if limit == 1 else 'slots'} at once, and the job takes {wanted}"
    return f"{used} of {limit} slots that {who} may hold at once are in use"
