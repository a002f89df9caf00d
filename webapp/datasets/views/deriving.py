"""Making versions out of others, and deleting one."""

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from webapp.accounts.requests import user_of
from webapp.datasets.derive_forms import CleanForm, MergeForm, SampleForm, SplitForm, mergeable
from webapp.datasets.derived import delete_version, derive, use_good_rows
from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.views.reading import detail_page
from webapp.datasets.views.writing import own_dataset


@require_POST
def version_clean(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Without duplicates to leave out, the good rows are a version at once."""
    form = CleanForm(request.POST)
    form.is_valid()
    if form.cleaned_data["drop_duplicates"]:
        return _derived(request, pk, number, form=form)
    dataset, version = _version(request, pk, number)
    try:
        new = use_good_rows(version, by=user_of(request))
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, tab="versions", version=version, error=refusal, status=refusal.status)
    messages.success(request, f"Version {new.number} holds the {new.rows:,} good rows and can be trained on.")
    return redirect("dataset-detail", pk=pk)


@require_POST
def version_split(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    return _derived(request, pk, number, form=SplitForm(request.POST))


@require_POST
def version_sample(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    return _derived(request, pk, number, form=SampleForm(request.POST))


@require_POST
def version_merge(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    _, version = _version(request, pk, number)
    return _derived(request, pk, number, form=MergeForm(request.POST, others=mergeable(user_of(request), version)))


def _derived(request: HttpRequest, pk: int, number: int, *, form: CleanForm | SplitForm | SampleForm | MergeForm) -> HttpResponse:
    dataset, version = _version(request, pk, number)
    if not form.is_valid():
        return detail_page(
            request, dataset, tab="versions", version=version, derive_form=form, error=_first_error(form), status=422
        )
    others = [form.cleaned_data["other"]] if isinstance(form, MergeForm) else []
    try:
        derive([version, *others], form.operation, into=dataset, by=user_of(request))
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, tab="versions", version=version, error=refusal, status=refusal.status)
    return redirect("dataset-detail", pk=pk)


def _first_error(form: Form) -> str:
    field, errors = next(iter(form.errors.items()))
    label = form.fields[field].label if field in form.fields else ""
    return f"{label}: {errors[0]}" if label else str(errors[0])


@require_POST
def version_delete(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    dataset, version = _version(request, pk, number)
    try:
        delete_version(version)
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, tab="versions", version=version, error=refusal, status=refusal.status)
    messages.success(request, f"Version {number} is deleted.")
    return redirect("dataset-versions", pk=pk)


def _version(request: HttpRequest, pk: int, number: int) -> tuple[Dataset, DatasetVersion]:
    dataset = own_dataset(request, pk)
    return dataset, get_object_or_404(dataset.versions.select_related("dataset"), number=number)
