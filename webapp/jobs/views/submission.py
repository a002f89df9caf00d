"""The New job form: opened, previewed while it is filled in, submitted."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from webapp.accounts.requests import user_of
from webapp.catalog.selectors import usable_models
from webapp.jobs import prefill
from webapp.jobs.forms import NewJobForm
from webapp.jobs.models import Job
from webapp.jobs.preview import preview_of
from webapp.jobs.services import JobRefused, submit_job
from webapp.jobs.views.finding import job_or_404


@require_http_methods(["GET", "HEAD", "POST"])
def job_new(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _submitted(request)
    form = NewJobForm(user=user_of(request), initial=_initial(request))
    return _page(request, form)


@require_POST
def job_preview(request: HttpRequest) -> HttpResponse:
    form = NewJobForm(request.POST, user=user_of(request))
    return render(request, "jobs/_preview.html", {"preview": preview_of(form)})


def _submitted(request: HttpRequest) -> HttpResponse:
    form = NewJobForm(request.POST, user=user_of(request))
    job = _submit(form) if form.is_valid() else None
    return _page(request, form, status=422) if job is None else redirect("job-detail", pk=job.pk)


def _submit(form: NewJobForm) -> Job | None:
    chosen = form.cleaned_data
    assert form.spec is not None  # a valid form has one
    try:
        return submit_job(
            user=form.user,
            name=chosen["name"],
            pool=chosen["pool"],
            base_model=chosen["base_model"],
            dataset_version=chosen["dataset_version"],
            spec=form.spec,
        )
    except JobRefused as refused:
        form.refuse(refused)
        return None


def _initial(request: HttpRequest) -> dict[str, Any]:
    cloned = request.GET.get("clone", "")
    if cloned.isascii() and cloned.isdigit():
        return prefill.from_job(job_or_404(request, int(cloned[:18])))
    if request.GET.get("example"):
        return prefill.from_example(user_of(request))
    return prefill.from_links(user_of(request), model=request.GET.get("model", ""), dataset=request.GET.get("dataset", ""))


def _page(request: HttpRequest, form: NewJobForm, *, status: int = 200) -> HttpResponse:
    as_posted = form if form.is_bound else NewJobForm(_as_data(form), user=form.user)
    layers = {model.pk: (model.shape or {}).get("linear_modules", []) for model in usable_models()}
    context = {"form": form, "preview": preview_of(as_posted), "layers": layers}
    return render(request, "jobs/new.html", context, status=status)


def _as_data(form: NewJobForm) -> dict[str, Any]:
    """The form as it would come back untouched: the first preview is of what is on the page."""
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None and value is not False}
