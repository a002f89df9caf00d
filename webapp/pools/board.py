"""The board of pools: which workers are there, how they are, what each runs."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.pools.selectors import ONLINE

OPEN = ("claimed", "running")  # attempts stand above pools, so they come by the worker's own relation


@dataclass(frozen=True)
class Slot:
    """One place for a job: free, or with the job in it."""

    number: int
    job: Any | None


@dataclass(frozen=True)
class WorkerCard:
    worker: Worker
    is_online: bool
    slots: tuple[Slot, ...]
    gpus: tuple[Gpu, ...]

    @property
    def memory_percent(self) -> int:
        return percent(self.worker.host.get("memory_used_bytes", 0), of=self.worker.host.get("memory_total_bytes", 0))


@dataclass(frozen=True)
class PoolCard:
    pool: WorkerPool
    queued: int
    workers: tuple[WorkerCard, ...]


def percent(part: int, *, of: int) -> int:
    return min(100, round(100 * part / of)) if of else 0


def board() -> tuple[PoolCard, ...]:
    pools = WorkerPool.objects.order_by("name").annotate(queued=Count("jobs", filter=Q(jobs__status="queued")))
    return tuple(_pool_card(pool) for pool in pools.prefetch_related(Prefetch("workers", _workers())))


def _workers() -> QuerySet[Worker]:
    """Revoked ones stay in the history of their jobs only."""
    workers = Worker.objects.exclude(state=Worker.State.REVOKED).order_by("name")
    return workers.annotate(now=Now()).prefetch_related(Prefetch("gpus", Gpu.objects.order_by("index")), "attempts")


def _pool_card(pool: Any) -> PoolCard:
    return PoolCard(pool=pool, queued=pool.queued, workers=tuple(_worker_card(worker) for worker in pool.workers.all()))
