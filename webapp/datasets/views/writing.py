"""Changing datasets: upload, new version, rename, check again, delete."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.datasets.errors import DatasetRefusal, DeletedMeanwhile
from webapp.datasets.forms import DatasetForm, RenameForm, VersionForm
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.services import add_version, check_again, create_dataset, delete_dataset, rename_dataset
from webapp.datasets.views.reading import dataset_of, detail_page, list_page


@require_POST
def dataset_upload(request: HttpRequest) -> HttpResponse:
    form, user = DatasetForm(request.POST, request.FILES), user_of(request)
    if not form.is_valid():
        return list_page(request, form=form, status=422)
    try:
        with form.arrived(user) as files:
            version = create_dataset(files, name=form.name_for(files), owner=user)
    except DatasetRefusal as refusal:
        form.add_error(refusal.field or None, str(refusal))
        return list_page(request, form=form, error=refusal, status=refusal.status)
    return redirect("dataset-detail", pk=version.dataset_id)


@require_POST
def version_upload(request: HttpRequest, pk: int) -> HttpResponse:
    dataset, user = own_dataset(request, pk), user_of(request)
    form = VersionForm(request.POST, request.FILES)
    if not form.is_valid():
        return detail_page(request, dataset, tab="versions", form=form, status=422)
    try:
        with form.arrived(user) as files:
            version = add_version(dataset, files, by=user)
    except DeletedMeanwhile as gone:
        messages.error(request, str(gone))
        return redirect("dataset-list")
    except DatasetRefusal as refusal:
        form.add_error(refusal.field or None, str(refusal))
        return detail_page(request, dataset, tab="versions", form=form, error=refusal, status=refusal.status)
    messages.success(request, f"Version {version.number} is stored.")
    return redirect("dataset-detail", pk=dataset.pk)


@require_POST
def dataset_rename(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = own_dataset(request, pk)
    form = RenameForm(request.POST)
    if not form.is_valid():
        return detail_page(request, dataset, error=form.errors["name"][0], status=422)
    try:
        rename_dataset(dataset, name=form.cleaned_data["name"])
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, error=refusal, status=refusal.status)
    return redirect("dataset-detail", pk=dataset.pk)


@require_POST
def version_check(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    dataset = own_dataset(request, pk)
    version = DatasetVersion.objects.filter(dataset=dataset, number=number).first()
    if version:
        check_again(version)
    return redirect("dataset-detail", pk=dataset.pk)


@require_POST
def dataset_delete(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = own_dataset(request, pk)
    try:
        delete_dataset(dataset, by=user_of(request))
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, error=refusal, status=refusal.status)
    messages.success(request, f"The dataset {dataset.name} and its versions are deleted.")
    return redirect("dataset-list")


def own_dataset(request: HttpRequest, pk: int) -> Dataset:
    """A team-mate sees the dataset, and that it is not theirs to change; a stranger finds nothing."""
    dataset = dataset_of(request, pk)
    if not may_change(user_of(request), dataset):
        raise PermissionDenied("Only its owner and administrators may change a dataset.")
    return dataset
