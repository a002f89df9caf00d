"""The queue of a pool: a page for everyone, whose order administrators change."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.permissions import may_run_pools
from webapp.accounts.requests import user_of
from webapp.jobs.models import JobStatus
from webapp.jobs.queue import move_in_queue
from webapp.jobs.queue_page import queue_page
from webapp.jobs.services import JobRefused
from webapp.pools.models import WorkerPool


@require_safe
def pool_queue(request: HttpRequest, pk: int) -> HttpResponse:
    pool = get_object_or_404(WorkerPool, pk=pk)
    return _page(request, pool)


@require_POST
def queue_move(request: HttpRequest, pk: int) -> HttpResponse:
    """`job` goes to `position` (1 is first) of the queue. The reply to htmx is the new order, else one comes back to the page."""
    pool, user = get_object_or_404(WorkerPool, pk=pk), user_of(request)
    if not may_run_pools(user):
        raise PermissionDenied("Only administrators change the order of a queue.")
    number, place = _number(request, "job"), _number(request, "position")
    job = pool.jobs.filter(pk=number, status=JobStatus.QUEUED).first()
    if job is None or place < 1:
        return _page(request, pool, error="That job is not waiting any more, so the order was left as it is.", status=409)
    try:
        move_in_queue(job, by=user, position=place)
    except JobRefused as refused:
        return _page(request, pool, error=str(refused), status=409)
    return _page(request, pool) if request.headers.get("HX-Request") else redirect("pool-queue", pk=pk)


def _number(request: HttpRequest, name: str) -> int:
    value = request.POST.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0


def _page(request: HttpRequest, pool: WorkerPool, *, error: str = "", status: int = 200) -> HttpResponse:
    context = {"queue": queue_page(pool, user_of(request)), "error": error}
    if request.headers.get("HX-Request"):
        return render(request, "jobs/_queue.html", context, status=200)  # htmx swaps no other status
    return render(request, "jobs/queue.html", context, status=status)
