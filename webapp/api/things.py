"""What jobs are made of and leave behind: me, models, pools, adapters."""

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from ninja import Router

from webapp.adapters.models import Adapter
from webapp.adapters.selectors import adapters_of
from webapp.api.access import user_of
from webapp.api.shapes import AdapterOut, Me, ModelOut, Page, PoolOut
from webapp.catalog.selectors import all_models
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.policy import slots_of
from webapp.pools.selectors import ONLINE

router = Router(tags=["things"])


@router.get("/me", response=Me)
def me(request: HttpRequest) -> Me:
    user = user_of(request)
    return Me.model_validate({"id": user.pk, "email": user.email, "name": user.name, "team": user.team.name, "role": user.role})


@router.get("/models", response=Page[ModelOut])
def models(request: HttpRequest) -> Page[ModelOut]:
    return Page(data=[ModelOut.model_validate(model, from_attributes=True) for model in all_models()])


@router.get("/pools", response=Page[PoolOut])
def pools(request: HttpRequest) -> Page[PoolOut]:
    return Page(
        data=[pool_out(pool) for pool in WorkerPool.objects.prefetch_related("workers__pool", "workers__gpus").order_by("name")]
    )


def pool_out(pool: WorkerPool) -> PoolOut:
    since = timezone.now() - ONLINE
    enabled = [worker for worker in pool.workers.all() if worker.state == Worker.State.ENABLED]
    online = [worker for worker in enabled if worker.last_seen_at and worker.last_seen_at > since]
    slots = sum(slots_of(worker, gpus=len(worker.gpus.all())) for worker in online)
    return PoolOut(id=pool.pk, name=pool.name, description=pool.description, workers_online=len(online), slots=slots)


@router.get("/adapters", response=Page[AdapterOut])
def adapters(request: HttpRequest) -> Page[AdapterOut]:
    return Page(data=[adapter_out(adapter) for adapter in visible_adapters(request)[:200]])


@router.get("/adapters/{int:adapter_id}", response=AdapterOut)
def adapter(request: HttpRequest, adapter_id: int) -> AdapterOut:
    return adapter_out(visible_adapters(request).get(pk=adapter_id))


def visible_adapters(request: HttpRequest) -> QuerySet[Adapter]:
    return adapters_of(user_of(request))


def adapter_out(adapter: Adapter) -> AdapterOut:
    return AdapterOut.of(adapter, download_url=reverse("adapter-download", args=[adapter.pk]))
