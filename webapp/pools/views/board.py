"""Pools & workers, for administrators: how the machines are, drain, enable, revoke, add another."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.permissions import must_run_pools
from webapp.accounts.requests import user_of
from webapp.pools.board import board
from webapp.pools.errors import PoolRefusal
from webapp.pools.forms import PoolForm
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.selectors import join_command
from webapp.pools.services import create_pool, drain_worker, enable_worker, new_join_token, revoke_worker


@dataclass(frozen=True)
class JoinCommand:
    """Shown once, in the reply to the click that made it."""

    pool: WorkerPool
    command: str


@require_safe
@must_run_pools
def pool_list(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return render(request, "pools/_board.html", {"board": board()})
    return _page(request)


@require_POST
@must_run_pools
def pool_create(request: HttpRequest) -> HttpResponse:
    form = PoolForm(request.POST)
    if form.is_valid():
        try:
            pool = create_pool(**form.cleaned_data)
        except PoolRefusal as refusal:
            form.add_error(refusal.field or None, str(refusal))
        else:
            messages.success(request, f"Pool {pool.name} is there. Add a machine to it.")
            return redirect("pool-list")
    return _page(request, form=form, status=422)


@never_cache
@require_POST
@must_run_pools
def pool_join(request: HttpRequest, pk: int) -> HttpResponse:
    pool = get_object_or_404(WorkerPool, pk=pk)
    token = new_join_token(pool, by=user_of(request))
    return _page(request, join=JoinCommand(pool, join_command(request, token)))


@require_POST
@must_run_pools
def worker_drain(request: HttpRequest, pk: int) -> HttpResponse:
    return _change(request, pk, drain_worker, "{} finishes what it runs and takes nothing new.")


@require_POST
@must_run_pools
def worker_enable(request: HttpRequest, pk: int) -> HttpResponse:
    return _change(request, pk, enable_worker, "{} takes jobs again.")


@require_POST
@must_run_pools
def worker_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    return _change(request, pk, revoke_worker, "{} is revoked: its token opens nothing any more.")


def _change(request: HttpRequest, pk: int, change: Callable[[Worker], None], done: str) -> HttpResponse:
    worker = get_object_or_404(Worker, pk=pk)
    try:
        change(worker)
    except PoolRefusal as refusal:
        return _page(request, error=str(refusal), status=409)
    messages.success(request, done.format(worker.name))
    return redirect("pool-list")


def _page(
    request: HttpRequest, *, form: PoolForm | None = None, join: JoinCommand | None = None, error: str = "", status: int = 200
) -> HttpResponse:
    context = {"board": board(), "form": form or PoolForm(), "join": join, "error": error}
    return render(request, "pools/list.html", context, status=status)
