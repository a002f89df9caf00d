"""The buttons of a job and of a selection in the list: each parses a wish, calls a service and says what came of it."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from webapp.accounts.requests import user_of
from webapp.jobs.models import Job, Priority
from webapp.jobs.selection import chosen_jobs, told_outcome
from webapp.jobs.services import JobRefused, cancel_job, change_priority, pause_job, resume_job, retry_job
from webapp.jobs.views.finding import job_or_404


@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """`stop=save` keeps the adapter up to this step, `stop=discard` keeps nothing; anything else is refused."""
    job, user = job_or_404(request, pk), user_of(request)
    wish = request.POST.get("stop", "")
    if wish not in ("save", "discard"):
        messages.error(request, "Say whether to save the adapter or to discard it.")
        return redirect("job-detail", pk=pk)
    return _changed(request, job, lambda: cancel_job(job, by=user, save=wish == "save"))


@require_POST
def job_pause(request: HttpRequest, pk: int) -> HttpResponse:
    job, user = job_or_404(request, pk), user_of(request)
    return _changed(request, job, lambda: pause_job(job, by=user))


@require_POST
def job_resume(request: HttpRequest, pk: int) -> HttpResponse:
    job, user = job_or_404(request, pk), user_of(request)
    return _changed(request, job, lambda: resume_job(job, by=user))


@require_POST
def job_priority(request: HttpRequest, pk: int) -> HttpResponse:
    job, user = job_or_404(request, pk), user_of(request)
    wish = request.POST.get("priority", "")
    if wish not in {str(choice.value) for choice in Priority}:
        messages.error(request, "Choose one of the priorities offered.")
        return redirect("job-detail", pk=pk)
    return _changed(request, job, lambda: change_priority(job, by=user, priority=int(wish)))


@require_POST
def job_retry(request: HttpRequest, pk: int) -> HttpResponse:
    """`from=checkpoint` goes on from the newest one kept, `from=beginning` starts anew: a new job either way."""
    job, user = job_or_404(request, pk), user_of(request)
    wish = request.POST.get("from", "")
    if wish not in ("checkpoint", "beginning"):
        messages.error(request, "Say whether to retry from the checkpoint or from the beginning.")
        return redirect("job-detail", pk=pk)
    try:
        again = retry_job(job, by=user, from_checkpoint=wish == "checkpoint")
    except JobRefused as refused:
        messages.error(request, str(refused))
        return redirect("job-detail", pk=pk)
    messages.success(request, f"This job retries #{job.pk}, which stays as it ended.")
    return redirect("job-detail", pk=again.pk)


@require_POST
def jobs_selected(request: HttpRequest) -> HttpResponse:
    """Several jobs of the list at once: `action` is pause, save or discard, `job` comes once for each."""
    user, wish = user_of(request), request.POST.get("action", "")
    actions: dict[str, Callable[[Job], None]] = {
        "pause": lambda job: pause_job(job, by=user),
        "save": lambda job: cancel_job(job, by=user, save=True),
        "discard": lambda job: cancel_job(job, by=user, save=False),
    }
    back = redirect(f"/jobs/{_query_of(request)}")
    jobs = chosen_jobs(user, request.POST.getlist("job"))
    if wish not in actions or not jobs:
        messages.error(request, "Select jobs in the list, then say what should happen to them.")
        return back
    outcome = told_outcome(jobs, actions[wish], done="asked to pause" if wish == "pause" else "asked to stop")
    (messages.warning if outcome.refused else messages.success)(request, outcome.sentence)
    return back


def _changed(request: HttpRequest, job: Job, change: Callable[[], object]) -> HttpResponse:
    try:
        change()
    except JobRefused as refused:
        messages.error(request, str(refused))
    return redirect("job-detail", pk=job.pk)


def _query_of(request: HttpRequest) -> str:
    """The filter of the list that the selection was made in, so that one comes back to it; only a query, never an address."""
    query = request.POST.get("back", "")[:300]
    return query if query.startswith("?") and query.isprintable() else ""
