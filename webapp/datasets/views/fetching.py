"""Datasets from elsewhere: ask for one, see how far it is, try again."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.requests import user_of
from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.fetch_forms import FORMS, FetchForm
from webapp.datasets.fetching import fetch_again, fetch_of, start_fetch
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.views.reading import dataset_of, detail_page, list_page
from webapp.datasets.views.writing import own_dataset

SECRETS = ("secret_access_key", "session_token", "access_key_id", "address", "endpoint")


@sensitive_post_parameters(*SECRETS)
@require_POST
def dataset_fetch(request: HttpRequest, kind: str) -> HttpResponse:
    form = _form(request, kind)
    if not form.is_valid():
        return list_page(request, fetch_form=form, status=422)
    try:
        version = start_fetch(form.source, secrets=form.secrets, name=form.cleaned_data["name"], owner=user_of(request))
    except DatasetRefusal as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        return list_page(request, fetch_form=form, status=refusal.status)
    return redirect("dataset-detail", pk=version.dataset_id)


@require_safe
def fetch_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """What the dataset's page asks every second while it waits: the progress, or load anew."""
    dataset = dataset_of(request, pk)
    version = _fetched(dataset)
    fetch = fetch_of(version) if version else None
    if fetch is None or fetch.state not in (DatasetTask.State.WAITING, DatasetTask.State.RUNNING):
        response = HttpResponse(status=204)
        response.headers["HX-Refresh"] = "true"
        return response
    return render(request, "datasets/_fetching.html", {"fetch": fetch, "version": version, "dataset": dataset})


@sensitive_post_parameters(*SECRETS)
@require_POST
def dataset_fetch_again(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = own_dataset(request, pk)
    version = _fetched(dataset)
    if version is None:
        raise Http404("Nothing of this dataset was fetched, or it is here already.")
    form = _form(request, version.recipe["source"]["kind"])
    if not form.is_valid():
        return detail_page(request, dataset, fetch_form=form, status=422)
    fetch_again(version, form.source, secrets=form.secrets, by=user_of(request))
    return redirect("dataset-detail", pk=dataset.pk)


def _fetched(dataset: Dataset) -> DatasetVersion | None:
    return dataset.versions.filter(origin=DatasetVersion.Origin.FETCHED, sha256="").order_by("-number").first()


def _form(request: HttpRequest, kind: str) -> FetchForm:
    if kind not in FORMS:
        raise Http404("There is no such source.")
    return FORMS[kind](request.POST)
