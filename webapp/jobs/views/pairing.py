"""LoRA against QLoRA in one click: from the New job form, and from the page of a job that is there already."""

import hashlib

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from webapp.accounts.requests import user_of
from webapp.jobs.comparison import compare_address
from webapp.jobs.forms import NewJobForm
from webapp.jobs.pairs import Pair, run_twin, submit_pair
from webapp.jobs.services import JobRefused
from webapp.jobs.views.finding import job_or_404
from webapp.jobs.views.submission import form_page

UNSIGNED = ("csrfmiddlewaretoken", "pair")


@require_http_methods(["GET", "HEAD", "POST"])
def job_pair(request: HttpRequest) -> HttpResponse:
    """`pair` is a word that was made with the page: a second click with the same settings is the same pair.

    A form that was refused stands at this address: who asks for it anew, or signs in on the way, gets an empty one.
    """
    if request.method != "POST":
        return redirect("job-new")
    form = NewJobForm(request.POST, user=user_of(request))
    pair = _submit(request, form) if form.is_valid() else None
    if pair is None:
        return form_page(request, form, status=422)
    if not pair.lora.is_replayed:
        messages.success(request, "Both jobs are queued. They differ in nothing but the precision of the base model.")
    return redirect(compare_address(job.pk for job in pair.jobs))


def _submit(request: HttpRequest, form: NewJobForm) -> Pair | None:
    chosen, digest = form.cleaned_data, _digest(request)
    assert form.spec is not None  # a valid form has one
    names = ("name", "pool", "base_model", "dataset_version", "priority")
    try:
        return submit_pair(
            user=form.user,
            spec=form.spec,
            **{name: chosen[name] for name in names},
            submission_key=f"pair-{digest}" if digest else "",
            submission_hash=digest,
        )
    except JobRefused as refused:
        form.refuse(refused)
        return None


def _digest(request: HttpRequest) -> str:
    """Of the page and of everything in it: who goes back, changes a setting and sends it again wants another pair."""
    word = request.POST.get("pair", "")
    if not word:
        return ""
    fields = sorted((name, *request.POST.getlist(name)) for name in request.POST if name not in UNSIGNED)
    return hashlib.sha256(repr((word, fields)).encode()).hexdigest()


@require_POST
def job_twin(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_or_404(request, pk)
    try:
        twin = run_twin(job, by=user_of(request))
    except JobRefused as refused:
        messages.error(request, str(refused))
        return redirect("job-detail", pk=pk)
    return redirect("job-detail", pk=twin.pk) if twin.is_replayed else _started(request, job.pk, twin.pk)


def _started(request: HttpRequest, job: int, twin: int) -> HttpResponse:
    messages.success(request, f"This is the twin of #{job}: nothing but the precision of the base model differs.")
    return redirect("job-detail", pk=twin)
