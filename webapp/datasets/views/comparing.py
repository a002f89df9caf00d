"""What differs between two versions of a dataset."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from webapp.accounts.requests import user_of
from webapp.datasets.differences import SHOWN, begin_difference, difference_of, difference_task
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.views.reading import asked_version, dataset_of


@require_http_methods(["GET", "HEAD", "POST"])
def version_changes(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Against ?against=N, else its parent, else the version before it. POST has it worked out; the page sends it by itself."""
    dataset = dataset_of(request, pk)
    version = get_object_or_404(dataset.versions.prefetch_related("parents"), number=number)
    before = _before(dataset, version, number=request.GET.get("against", ""))
    with_rows = before if before and before.rows_sha256 and version.rows_sha256 else None
    if request.method == "POST":
        return _begin(request, with_rows, version)
    task = difference_task(with_rows, version) if with_rows else None
    if request.headers.get("HX-Request"):
        return _state(task)
    is_done = task is not None and task.state == DatasetTask.State.DONE
    context = {
        "dataset": dataset,
        "version": version,
        "before": before,
        "others": [other for other in dataset.versions.order_by("-number") if other.pk != version.pk],
        "has_rows": with_rows is not None,
        "task": task,
        "difference": difference_of(task, before=before) if task and before and is_done else None,
        "most_shown": SHOWN,
    }
    return render(request, "datasets/changes.html", context)


def _begin(request: HttpRequest, before: DatasetVersion | None, version: DatasetVersion) -> HttpResponse:
    if before:
        begin_difference(before, version, by=user_of(request))
    return HttpResponse(status=204) if request.headers.get("HX-Request") else redirect(request.get_full_path())


def _before(dataset: Dataset, version: DatasetVersion, *, number: str) -> DatasetVersion | None:
    if number:
        return asked_version(dataset, number=number)
    parent = next((parent for parent in version.parents.all() if parent.dataset_id == dataset.pk), None)
    return parent or dataset.versions.filter(number__lt=version.number).order_by("-number").first()


def _state(task: DatasetTask | None) -> HttpResponse:
    """As pages that wait ask: nothing yet, or load anew."""
    response = HttpResponse(status=204)
    if task and task.state in (DatasetTask.State.DONE, DatasetTask.State.FAILED):
        response.headers["HX-Refresh"] = "true"
    return response
