"""What an administrator set for the machines of a pool, as the worker hears it, and how many slots that makes."""

from webapp.pools.models import Worker
from worker.contract.orders import HostPolicy

MOST_SLOTS = 64  # of one host, as the contract has it


def slots_of(worker: Worker, *, gpus: int | None = None) -> int:
    """Jobs that the worker runs at once. `gpus` saves the question how many it has.

    A worker of protocol 1 knows no policy: it runs as many as it registered.
    """
    if worker.protocol < 2:
        return worker.slots
    gpus = worker.gpus.count() if gpus is None else gpus
    return min(MOST_SLOTS, max(worker.slots, gpus * worker.pool.jobs_per_gpu))


def host_policy(worker: Worker) -> HostPolicy:
    pool = worker.pool
    return HostPolicy(
        slots=slots_of(worker),
        offline_limit_seconds=pool.offline_limit_seconds,
        min_free_disk_bytes=pool.min_free_disk_bytes,
        keep_runs_days=pool.keep_runs_days,
        max_cache_bytes=pool.max_cache_bytes,
    )
