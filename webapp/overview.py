"""The first page: what runs, what waits, what needs attention, and where the GPUs stand."""

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from webapp.accounts.requests import user_of
from webapp.adapters.selectors import adapters_of
from webapp.catalog.models import Source
from webapp.catalog.selectors import usable_models
from webapp.disk import disk_state
from webapp.jobs.models import HELD_JOB, Job, JobStatus
from webapp.jobs.prefill import example_version
from webapp.jobs.selectors import jobs_for, queue_position, waiting_reason
from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.pools.policy import slots_of
from webapp.pools.selectors import ONLINE

LATEST = 5
ATTENTION_FOR = timedelta(days=3)


@dataclass(frozen=True)
class Waiting:
    job: Job
    position: int
    reason: str


@dataclass(frozen=True)
class PoolNow:
    """What a pool has at this moment: machines that answer, slots, free memory of the cards or else of the hosts."""

    name: str
    online: int
    workers: int
    busy: int
    slots: int
    gpus: list[Gpu]
    free_bytes: int
    total_bytes: int

    @property
    def used_percent(self) -> float:
        return 100 * (1 - self.free_bytes / self.total_bytes) if self.total_bytes else 0.0


def overview(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    mine = jobs_for(user).filter(owner=user)
    pools = pools_now()
    context = {
        "running": list(mine.filter(status__in=HELD_JOB)[:LATEST]),
        "waiting": [
            Waiting(job, queue_position(job), waiting_reason(job)) for job in mine.filter(status=JobStatus.QUEUED)[:LATEST]
        ],
        "failed": list(mine.filter(status=JobStatus.FAILED, ended_at__gt=timezone.now() - ATTENTION_FOR)[:LATEST]),
        "disk": disk_state(),
        "nobody_online": not any(pool.online for pool in pools),
        "pools": pools,
        "adapters": list(adapters_of(user)[:LATEST]),
        "others": list(jobs_for(user).exclude(owner=user)[:LATEST]),
        "is_first": not mine.exists(),
        "example_model": usable_models().filter(source=Source.EXAMPLE).first(),
        "example_dataset": example_version(user),
    }
    return render(request, "overview/overview.html", context)


def pools_now() -> list[PoolNow]:
    workers = Worker.objects.exclude(state=Worker.State.REVOKED).select_related("pool").prefetch_related("gpus")
    by_pool: dict[int, list[Worker]] = {}
    for worker in workers:
        by_pool.setdefault(worker.pool_id, []).append(worker)
    return [_pool_now(pool, by_pool.get(pool.pk, [])) for pool in WorkerPool.objects.order_by("name")]


def _pool_now(pool: WorkerPool, workers: list[Worker]) -> PoolNow:
    online = [worker for worker in workers if worker.last_seen_at and timezone.now() - worker.last_seen_at < ONLINE]
    gpus = [gpu for worker in online for gpu in worker.gpus.all()]
    total = sum(gpu.memory_total_bytes for gpu in gpus) or sum(worker.host.get("memory_total_bytes", 0) for worker in online)
    used = sum(gpu.memory_used_bytes for gpu in gpus) if gpus else sum(worker.host.get("memory_used_bytes", 0) for worker in online)
    return PoolNow(
        name=pool.name,
        online=len(online),
        workers=len(workers),
        busy=Job.objects.filter(pool=pool, status__in=HELD_JOB).count(),
        slots=sum(slots_of(worker, gpus=len(worker.gpus.all())) for worker in online),
        gpus=gpus,
        free_bytes=max(0, total - used),
        total_bytes=total,
    )
