"""Settings, for administrators: how much disk is left, what housekeeping would delete, and when it does."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.permissions import must_run_pools
from webapp.accounts.requests import user_of
from webapp.datasets.open_hosts import HostRefused, close_host, open_host, open_hosts
from webapp.templatetags.units import size
from webapp.upkeep.forms import HostForm, PolicyForm
from webapp.upkeep.selectors import disk_state, plan_cleanup, upkeep_policy
from webapp.upkeep.services import UpkeepRefused, change_policy, clean_up


@require_safe
@must_run_pools
def settings_page(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@must_run_pools
def policy_change(request: HttpRequest) -> HttpResponse:
    form = PolicyForm(request.POST)
    if form.is_valid():
        try:
            change_policy(by=user_of(request), **form.cleaned_data)
        except UpkeepRefused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        else:
            messages.success(request, "Housekeeping is changed. Below stands what the next cleaning would delete.")
            return redirect("settings")
    return _page(request, form=form, status=422)


@require_POST
@must_run_pools
def clean_now(request: HttpRequest) -> HttpResponse:
    done = clean_up(by=user_of(request))
    if done.count:
        messages.success(
            request, f"Deleted {done.count:,} {'thing' if done.count == 1 else 'things'}, {size(done.size_bytes)} in all."
        )
    else:
        messages.info(request, "There was nothing to delete.")
    return redirect("settings")


@require_POST
@must_run_pools
def host_open(request: HttpRequest) -> HttpResponse:
    form = HostForm(request.POST)
    if form.is_valid():
        try:
            host = open_host(form.cleaned_data["host"], by=user_of(request))
        except HostRefused as refused:
            form.add_error("host", str(refused))
        else:
            messages.success(request, f"Datasets may be fetched from {host.name} now.")
            return redirect("settings")
    return _page(request, host_form=form, status=422)


@require_POST
@must_run_pools
def host_close(request: HttpRequest, pk: int) -> HttpResponse:
    close_host(pk, by=user_of(request))
    messages.success(request, "The host is closed. Fetches that run go on.")
    return redirect("settings")


def _plain(days: float | None) -> float | None:
    """14 days, not 14.0."""
    return int(days) if days is not None and float(days).is_integer() else days


def _page(
    request: HttpRequest, *, form: PolicyForm | None = None, host_form: HostForm | None = None, status: int = 200
) -> HttpResponse:
    policy = upkeep_policy()
    initial = {name: _plain(getattr(policy, name)) for name in ("keep_checkpoints_days", "keep_logs_days")}
    context = {
        "policy": policy,
        "form": form or PolicyForm(initial=initial),
        "host_form": host_form or HostForm(),
        "hosts": open_hosts(),
        "plan": plan_cleanup(),
        "disk": disk_state(),
    }
    return render(request, "upkeep/settings.html", context, status=status)
