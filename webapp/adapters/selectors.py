"""Reads of adapters: those that a user may see."""

from django.db.models import QuerySet

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.adapters.models import Adapter
from worker.contract.events import Results
from worker.contract.orders import ArtifactFile


def adapters_of(user: User) -> QuerySet[Adapter]:
    adapters = Adapter.objects.select_related("job__base_model", "job__dataset_version__dataset", "owner")
    return visible_to(user, adapters).order_by("-created_at")


def files_of(adapter: Adapter) -> tuple[ArtifactFile, ...]:
    return tuple(ArtifactFile.model_validate(file) for file in adapter.files)


def results_of(adapter: Adapter) -> Results:
    return Results.model_validate(adapter.results)
