"""/api/v1/datasets: what there is to train on, and uploads."""

from django.http import HttpRequest
from ninja import Router

from webapp.accounts.permissions import visible_to
from webapp.api.access import user_of
from webapp.api.shapes import DatasetOut, Page
from webapp.datasets.models import Dataset

router = Router(tags=["datasets"])


@router.get("", response=Page[DatasetOut])
def list_datasets(request: HttpRequest) -> Page[DatasetOut]:
    """By name, each with its versions, newest first. Jobs name a version."""
    rows = visible_to(user_of(request), Dataset.objects.select_related("owner").prefetch_related("versions")).order_by("name")
    return Page(data=[DatasetOut.of(dataset) for dataset in rows])
