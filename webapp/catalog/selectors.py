"""Reads of the catalogue: which models there are, which wait to be looked at, which jobs use one."""

from django.db.models import Count, QuerySet

from webapp.catalog.models import BaseModel
from worker.contract.model_shape import ModelShape

LOOKED_AT_ONCE = 5  # a worker reads one model's files in seconds to minutes; the rest is named in its next heartbeat


def models_to_look_at() -> list[BaseModel]:
    """The oldest models that nobody has looked at yet: named to each worker that sends a heartbeat."""
    return list(BaseModel.objects.filter(state=BaseModel.State.CHECKING).order_by("pk")[:LOOKED_AT_ONCE])


def all_models() -> QuerySet[BaseModel]:
    return BaseModel.objects.annotate(job_count=Count("jobs")).order_by("name")


def usable_models() -> QuerySet[BaseModel]:
    return BaseModel.objects.filter(state=BaseModel.State.READY).order_by("name")


def shape_of(model: BaseModel) -> ModelShape | None:
    return ModelShape.model_validate(model.shape) if model.shape else None
