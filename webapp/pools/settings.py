"""How the machines of a pool are used: what an administrator may set, within which bounds."""

import math
from dataclasses import asdict, dataclass

from webapp.accounts.models import User
from webapp.accounts.permissions import may_run_pools
from webapp.pools.errors import BadPoolSetting, PoolsAreForAdministrators
from webapp.pools.models import WorkerPool

MOST_JOBS_PER_GPU = 16
SHORTEST_OFFLINE, LONGEST_OFFLINE = 60, 24 * 3600  # seconds
MOST_BYTES = 2**60  # far above any disk, and still a database's integer


@dataclass(frozen=True)
class PoolSettings:
    jobs_per_gpu: int
    offline_limit_seconds: int
    min_free_disk_bytes: int
    keep_runs_days: float
    max_cache_bytes: int | None


def change_pool_settings(pool: WorkerPool, *, by: User, settings: PoolSettings) -> None:
    """The workers hear of it with their next heartbeat; what runs goes on. Raises PoolRefusal."""
    if not may_run_pools(by):
        raise PoolsAreForAdministrators
    _check(settings)
    values = asdict(settings)
    WorkerPool.objects.filter(pk=pool.pk).update(**values)
    for name, value in values.items():
        setattr(pool, name, value)


def _check(given: PoolSettings) -> None:
    if not 1 <= given.jobs_per_gpu <= MOST_JOBS_PER_GPU:
        raise BadPoolSetting("jobs_per_gpu", f"Give 1 to {MOST_JOBS_PER_GPU} jobs a GPU.")
    if not SHORTEST_OFFLINE <= given.offline_limit_seconds <= LONGEST_OFFLINE:
        raise BadPoolSetting("offline_limit_seconds", "Give an offline limit of 1 minute to 24 hours.")
    if not 0 <= given.min_free_disk_bytes <= MOST_BYTES:
        raise BadPoolSetting("min_free_disk_bytes", "Give the disk to keep free in bytes: 0 or more.")
    if not (math.isfinite(given.keep_runs_days) and 0 <= given.keep_runs_days <= 36_500):
        raise BadPoolSetting("keep_runs_days", "Give the days to keep run directories: 0 to 36,500.")
    if given.max_cache_bytes is not None and not 0 <= given.max_cache_bytes <= MOST_BYTES:
        raise BadPoolSetting("max_cache_bytes", "Give the largest cache in bytes, or nothing for no limit.")
