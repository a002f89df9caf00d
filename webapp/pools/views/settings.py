"""How the machines of a pool are used: a page of its own, with what each setting does."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from webapp.accounts.permissions import must_run_pools
from webapp.accounts.requests import user_of
from webapp.pools.errors import PoolRefusal
from webapp.pools.forms import PoolSettingsForm
from webapp.pools.models import WorkerPool
from webapp.pools.services import change_pool_settings


@require_http_methods(["GET", "HEAD", "POST"])
@must_run_pools
def pool_settings(request: HttpRequest, pk: int) -> HttpResponse:
    pool = get_object_or_404(WorkerPool, pk=pk)
    if request.method == "POST":
        return _changed(request, pool)
    return _page(request, pool, PoolSettingsForm(initial=_plain(PoolSettingsForm.values_of(pool))))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """15 minutes, not 15.0."""
    return {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in values.items()}


def _changed(request: HttpRequest, pool: WorkerPool) -> HttpResponse:
    form = PoolSettingsForm(request.POST)
    if form.is_valid():
        try:
            change_pool_settings(pool, by=user_of(request), settings=form.settings)
        except PoolRefusal as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            messages.success(request, f"Pool {pool.name} is changed. Its workers hear of it within seconds; what runs goes on.")
            return redirect("pool-list")
    return _page(request, pool, form, status=422)


def _page(request: HttpRequest, pool: WorkerPool, form: PoolSettingsForm, *, status: int = 200) -> HttpResponse:
    return render(request, "pools/settings.html", {"pool": pool, "form": form}, status=status)
