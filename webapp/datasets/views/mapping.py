"""The page on which somebody says which column of a version is what, with its first rows as they would be read."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from webapp.accounts.requests import user_of
from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.mapping import map_version, try_on
from webapp.datasets.mapping_form import MappingForm, in_words_of_the_page
from webapp.datasets.models import DatasetVersion
from webapp.datasets.selectors import recognition_of
from webapp.datasets.services import next_number
from webapp.datasets.views.writing import own_dataset
from worker.contract.dataset_tasks import TryReport
from worker.contract.mapping import Mapping


@require_http_methods(["GET", "HEAD", "POST"])
def version_mapping(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    version = get_object_or_404(own_dataset(request, pk).versions, number=number)
    if version.state == DatasetVersion.State.CHECKING or not version.files.exists():
        raise Http404("This version has no columns to choose from: it is still being checked, or was made from others.")
    try:
        return _saved(request, version) if request.method == "POST" else _shown(request, version)
    except DatasetRefusal as refusal:
        return _page(request, version, error=refusal, status=refusal.status)


def _shown(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    form = _form(version, data=request.GET if "shape" in request.GET else None)
    return _page(request, version, form=form)


def _saved(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    form = _form(version, data=request.POST)
    if form.mapping is None:
        return _page(request, version, form=form, status=422)
    try:
        made = map_version(version, mapping=form.mapping, by=user_of(request))
    except DatasetRefusal as refusal:
        return _page(request, version, form=form, error=refusal, status=refusal.status)
    said = "The columns are settled." if made.pk == version.pk else f"Version {made.number} reads the columns in the new way."
    messages.success(request, said)
    return redirect("dataset-detail", pk=version.dataset_id)


def _form(version: DatasetVersion, *, data: Any) -> MappingForm:
    """Begins with what was chosen before, else with what is proposed."""
    recognition = recognition_of(version) or try_on(version, mapping=None).recognition
    chosen = Mapping.model_validate(version.mapping) if version.mapping else recognition.suggested
    return MappingForm(data, recognition=recognition, current=in_words_of_the_page(chosen))


def _page(
    request: HttpRequest, version: DatasetVersion, *, form: MappingForm | None = None, error: Any = None, status: int = 200
) -> HttpResponse:
    """With HX-Request the part that follows the choices; there a choice that is not complete is no error."""
    is_part = bool(request.headers.get("HX-Request"))
    tried: TryReport | None = try_on(version, mapping=form.mapping) if form and form.mapping else None
    if form and request.method == "GET":
        form.errors.clear()  # what is not chosen yet is no mistake
    context = {
        "dataset": version.dataset,
        "version": version,
        "form": form,
        "tried": tried,
        "error": error,
        "is_unsure": version.state == DatasetVersion.State.UNSURE,
        "next_number": next_number(version.dataset),
    }
    return render(request, "datasets/_mapping_live.html" if is_part else "datasets/mapping.html", context, status=status)
