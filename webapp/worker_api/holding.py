"""Which attempt a knock is about, and whether its worker may still speak for it. What comes too late is refused and counted."""

from django.http import HttpRequest

from webapp.jobs.fencing import refuse_late
from webapp.jobs.models import OPEN_ATTEMPT, Attempt
from webapp.worker_api.door import Refusal, worker_of


def attempt_of(request: HttpRequest, pk: int) -> Attempt:
    """Only the worker that was given an attempt knows of it; to any other it does not exist."""
    related = ("job__dataset_version__dataset", "worker")
    attempt = Attempt.objects.select_related(*related).filter(pk=pk, worker=worker_of(request)).first()
    if attempt is None:
        raise Refusal(404, "no_attempt", "This worker has no such attempt.")
    return attempt


def held_attempt(request: HttpRequest, pk: int) -> Attempt:
    """One that is open, asked for under its fence."""
    attempt = attempt_of(request, pk)
    if request.GET.get("fence") != str(attempt.fence) or attempt.status not in OPEN_ATTEMPT:
        raise stale(attempt)
    return attempt


def stale(attempt: Attempt, *, told_step: int = 0) -> Refusal:
    """The refusal of what a closed attempt still sends."""
    refuse_late(attempt, told_step=told_step)
    return Refusal(
        409, "stale_attempt", "This attempt was closed or given to another worker. Stop its trainer; nothing more of it is taken."
    )
