"""Reads of the catalogue: which models there are, which wait to be looked at, which jobs use one."""

from typing import Any

from django.db.models import Count, QuerySet

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.catalog.models import BaseModel
from worker.contract.model_shape import ModelShape

SHOWN_JOBS = 20
LOOKED_AT_ONCE = 5  # a worker reads one model's files in seconds to minutes; the rest is named in its next heartbeat


def models_to_look_at() -> list[BaseModel]:
    """The oldest models that nobody has looked at yet: named to each worker that sends a heartbeat."""
    return list(BaseModel.objects.filter(state=BaseModel.State.CHECKING).order_by("pk")[:LOOKED_AT_ONCE])


def models_without_tokenizer(*, worker_id: int) -> list[BaseModel]:
    """Looked at by workers that did not send tokenizers yet; this worker has not been asked in vain."""
    waiting = BaseModel.objects.filter(state=BaseModel.State.READY, tokenizer_sha256="").order_by("pk")
    return [model for model in waiting if worker_id not in model.tokenizer_lacking][:LOOKED_AT_ONCE]


def all_models() -> QuerySet[BaseModel]:
    return BaseModel.objects.annotate(job_count=Count("jobs")).order_by("name")


def usable_models() -> QuerySet[BaseModel]:
    return BaseModel.objects.filter(state=BaseModel.State.READY).order_by("name")


def shape_of(model: BaseModel) -> ModelShape | None:
    return ModelShape.model_validate(model.shape) if model.shape else None


def jobs_on(model: BaseModel, *, user: User) -> QuerySet[Any]:
    """The newest jobs that the user may see. Jobs stand above the catalogue, so they come by the model's own relation."""
    return visible_to(user, model.jobs.select_related("owner")).order_by("-created_at")[:SHOWN_JOBS]
