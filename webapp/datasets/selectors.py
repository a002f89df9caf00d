"""Reads of datasets: those that a user may see, their versions, reports and jobs."""

from typing import Any

from django.db.models import Count, Prefetch, QuerySet

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.datasets.models import Dataset, DatasetVersion
from worker.contract.mapping import Recognition
from worker.contract.rows_report import RowsReport

SHOWN_JOBS = 50


def datasets_of(user: User) -> QuerySet[Dataset]:
    newest_first = DatasetVersion.objects.select_related("created_by").defer("report").order_by("-number")  # reports are long
    datasets = Dataset.objects.select_related("owner", "team").annotate(job_count=Count("versions__jobs"))
    return visible_to(user, datasets.prefetch_related(Prefetch("versions", newest_first))).order_by("-created_at", "-pk")


def version_of(dataset: Dataset, *, number: str) -> DatasetVersion | None:
    """The version with that number, else the newest."""
    versions = list(dataset.versions.all())
    wanted = [version for version in versions if str(version.number) == number] if number else versions
    return wanted[0] if wanted else None


def report_of(version: DatasetVersion) -> RowsReport | None:
    return RowsReport.model_validate(version.report) if version.report else None


def jobs_on(dataset: Dataset, *, user: User) -> QuerySet[Any]:
    """The newest jobs that the user may see. Jobs stand above datasets, so they come by the versions' own relation."""
    jobs = DatasetVersion._meta.get_field("jobs").related_model._default_manager
    seen = visible_to(user, jobs.filter(dataset_version__dataset=dataset).select_related("owner", "dataset_version"))
    return seen.order_by("-created_at")


def jobs_count(dataset: Dataset) -> int:
    return int(dataset.versions.aggregate(count=Count("jobs"))["count"])


def recognition_of(version: DatasetVersion) -> Recognition | None:
    """What the check took the rows for, and their columns."""
    kept = (version.report or {}).get("recognition")
    return Recognition.model_validate(kept) if kept else None
