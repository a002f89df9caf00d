"""The New job form: opened, previewed while it is filled in, submitted."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_http_methods, require_POST

from webapp.accounts.requests import user_of
from webapp.catalog.models import BaseModel
from webapp.catalog.selectors import usable_models
from webapp.jobs import prefill
from webapp.jobs.failure_cards import fix_named
from webapp.jobs.fixes import Fix
from webapp.jobs.forms import NewJobForm
from webapp.jobs.models import Job
from webapp.jobs.presets import preset_values
from webapp.jobs.preview import preview_of
from webapp.jobs.selectors import jobs_for
from webapp.jobs.services import JobRefused, submit_job
from webapp.jobs.views.finding import job_or_404
from worker.contract.lora import SHORTCUTS
from worker.contract.targets import names_of

MODULES = [f"js/job_{name}.js" for name in ("new", "controls", "presets", "targets", "preview")]


@require_http_methods(["GET", "HEAD", "POST"])
def job_new(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _submitted(request)
    origin = _origin(request)
    form = NewJobForm(user=user_of(request), initial=_initial(request, origin))
    return form_page(request, form, origin=origin)


@require_POST
def job_preview(request: HttpRequest) -> HttpResponse:
    """Asked for with each keystroke, so it is rendered without what every page's frame reads (a quarter of its time)."""
    form = NewJobForm(request.POST, user=user_of(request))
    return HttpResponse(render_to_string("jobs/_preview.html", {"preview": preview_of(form)}))


def _submitted(request: HttpRequest) -> HttpResponse:
    form = NewJobForm(request.POST, user=user_of(request))
    job = _submit(form) if form.is_valid() else None
    return form_page(request, form, status=422) if job is None else redirect("job-detail", pk=job.pk)


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
            priority=chosen["priority"],
            cloned_from=_copied(form),
        )
    except JobRefused as refused:
        form.refuse(refused)
        return None


def _copied(form: NewJobForm) -> Job | None:
    """The job that the form was filled from; one that the user may not see is no origin."""
    return jobs_for(form.user).filter(pk=form.cleaned_data["clone"]).first() if form.cleaned_data.get("clone") else None


@dataclass(frozen=True)
class Origin:
    """Of a form that is filled in from a job, for its banner."""

    job: Job
    fix: Fix | None
    is_old_fix: bool
    """The link names a change that is not offered (any more)."""


def _origin(request: HttpRequest) -> Origin | None:
    number, key = request.GET.get("clone", ""), request.GET.get("fix", "")
    if not (number.isascii() and number.isdigit()):
        return None
    job = job_or_404(request, int(number[:18]))
    fix = fix_named(job, key) if key else None
    return Origin(job, fix, is_old_fix=bool(key) and fix is None)


def _initial(request: HttpRequest, origin: Origin | None) -> dict[str, Any]:
    user = user_of(request)
    if origin:
        return prefill.from_job(origin.job, user=user, fix=origin.fix)
    if request.GET.get("example"):
        return prefill.from_example(user)
    named = ("model", "dataset", "max_length", "train_on", "chat_template")
    return prefill.from_links(user, **{name: request.GET.get(name, "") for name in named})


def form_page(request: HttpRequest, form: NewJobForm, *, origin: Origin | None = None, status: int = 200) -> HttpResponse:
    as_posted = form if form.is_bound else NewJobForm(_as_data(form), user=form.user)
    layers = {model.pk: _layers(model) for model in usable_models()}
    context = {"form": form, "preview": preview_of(as_posted), "layers": layers, "presets": preset_values(), "origin": origin}
    context["modules"] = MODULES
    return render(request, "jobs/new.html", context, status=status)


def _layers(model: BaseModel) -> dict[str, tuple[str, ...]]:
    """Names that each choice of target modules means for this model."""
    found = (model.shape or {}).get("linear_modules", ())
    return {shortcut: names_of(shortcut, found=found) for shortcut in SHORTCUTS}


def _as_data(form: NewJobForm) -> dict[str, Any]:
    """The form as it would come back untouched: the first preview is of what is on the page."""
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None and value is not False}
