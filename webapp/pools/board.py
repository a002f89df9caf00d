"""The board of pools: which workers are there, how they are, what each slot runs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Count, Prefetch, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.pools.policy import slots_of
from webapp.pools.selectors import ONLINE
from webapp.pools.worker_notes import Kept, Note, foreign_note, kept_on, notes_on
from worker.contract import OLDEST_PROTOCOL


@dataclass(frozen=True)
class GpuCard:
    gpu: Gpu
    memory_percent: int
    foreign_percent: int
    foreign: str
    """In words; empty while the card is ours alone."""


@dataclass(frozen=True)
class WorkerCard:
    worker: Worker
    is_online: bool
    jobs: tuple[Any | None, ...]
    """One for each slot: the job that it runs, or None."""
    gpus: tuple[GpuCard, ...]
    memory_percent: int
    """Of the host; shown when there is no GPU."""
    notes: tuple[Note, ...]
    kept: tuple[Kept, ...]

    @property
    def deletable_bytes(self) -> int:
        return sum(each.files.deletable_bytes for each in self.kept)

    @property
    def kept_bytes(self) -> int:
        return sum(each.files.size_bytes for each in self.kept)

    @property
    def is_too_old(self) -> bool:
        return bool(self.worker.protocol < OLDEST_PROTOCOL)


@dataclass(frozen=True)
class PoolCard:
    pool: WorkerPool
    queued: int
    workers: tuple[WorkerCard, ...]

    @property
    def slots(self) -> int:
        return sum(len(worker.jobs) for worker in self.workers)

    @property
    def busy(self) -> int:
        return sum(job is not None for worker in self.workers for job in worker.jobs)


def percent(part: int, *, of: int) -> int:
    return min(100, round(100 * part / of)) if of else 0


def board() -> tuple[PoolCard, ...]:
    pools = WorkerPool.objects.order_by("name").annotate(queued=Count("jobs", filter=Q(jobs__status="queued")))
    pools = pools.prefetch_related(Prefetch("workers", _workers()))
    return tuple(PoolCard(pool, pool.queued, tuple(_worker_card(worker) for worker in pool.workers.all())) for pool in pools)


def _workers() -> QuerySet[Any]:
    """Without the revoked ones: they live on in the history of their jobs only. `now` is the database's clock, as last_seen_at is."""
    workers = Worker.objects.exclude(state=Worker.State.REVOKED).select_related("pool").order_by("name").annotate(now=Now())
    return workers.prefetch_related(Prefetch("gpus", Gpu.objects.order_by("index")), Prefetch("attempts", _open_attempts()))


def _open_attempts() -> QuerySet[Any]:
    """Jobs stand above pools and are not imported here; their attempts come by name."""
    attempts = apps.get_model("jobs", "Attempt")._default_manager
    return attempts.filter(status__in=("claimed", "running")).select_related("job__owner").prefetch_related("held_slots")


def _worker_card(worker: Any) -> WorkerCard:
    by_slot = {held.slot: attempt.job for attempt in worker.attempts.all() for held in attempt.held_slots.all()}
    slots = range(max(slots_of(worker, gpus=len(worker.gpus.all())), max(by_slot, default=-1) + 1))
    return WorkerCard(
        worker=worker,
        is_online=is_online(worker.last_seen_at, now=worker.now),
        jobs=tuple(by_slot.get(slot) for slot in slots),
        gpus=tuple(_gpu_card(gpu) for gpu in worker.gpus.all()),
        memory_percent=percent(worker.host.get("memory_used_bytes", 0), of=worker.host.get("memory_total_bytes", 0)),
        notes=notes_on(worker),
        kept=kept_on(worker),
    )


def _gpu_card(gpu: Gpu) -> GpuCard:
    total = gpu.memory_total_bytes
    return GpuCard(gpu, percent(gpu.memory_used_bytes, of=total), percent(gpu.foreign_used_bytes or 0, of=total), foreign_note(gpu))


def is_online(last_seen_at: datetime | None, *, now: datetime | None = None) -> bool:
    return last_seen_at is not None and last_seen_at > (now or timezone.now()) - ONLINE
