"""The search for rows that are nearly the same: a part of the Problems tab that fetches itself."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.near_duplicates import make_version_without, search_in, start_search
from webapp.datasets.views.reading import dataset_of, detail_page
from webapp.datasets.views.writing import own_dataset


@require_http_methods(["GET", "HEAD", "POST"])
def version_near_duplicates(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """POST begins the search, or with `leave_out` makes a version without what it found; team-mates see what that is."""
    dataset = own_dataset(request, pk) if request.method == "POST" else dataset_of(request, pk)
    version = get_object_or_404(dataset.versions.exclude(rows_sha256=""), number=number)
    if request.method == "POST" and "leave_out" in request.POST:
        return _leave_out(request, dataset, version)
    if request.method == "POST":
        start_search(version, by=user_of(request))
    if not request.headers.get("HX-Request"):
        return redirect(f"{reverse('dataset-problems', args=[pk])}?version={number}")
    return _fragment(request, version)


def _leave_out(request: HttpRequest, dataset: Dataset, version: DatasetVersion) -> HttpResponse:
    try:
        make_version_without(version, by=user_of(request))
    except DatasetRefusal as refusal:
        return detail_page(request, dataset, tab="problems", version=version, error=refusal, status=refusal.status)
    return redirect("dataset-detail", pk=dataset.pk)


def _fragment(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    names = [file.name for file in version.files.all()]
    context = {
        "version": version,
        "search": search_in(version),
        "names": names if len(names) > 1 else [],
        "may_change": may_change(user_of(request), version.dataset),
    }
    return render(request, "datasets/_near_duplicates.html", context)
