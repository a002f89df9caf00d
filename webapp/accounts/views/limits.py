"""How many jobs a team and a member may run at once: administrators set it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from webapp.accounts.forms import MemberLimitForm, TeamLimitsForm
from webapp.accounts.models import Team, User
from webapp.accounts.permissions import must_run_accounts
from webapp.accounts.requests import user_of
from webapp.accounts.services import LimitRefused, set_member_limit, set_team_limits
from webapp.accounts.views.users import users_page

HOLDS = "What runs goes on; from now on no more than that is started."


@require_POST
@must_run_accounts
def team_limits(request: HttpRequest, pk: int) -> HttpResponse:
    team, form = get_object_or_404(Team, pk=pk), TeamLimitsForm(request.POST)
    if not form.is_valid():
        return users_page(request, error=_first_error(form, team.name), status=422)
    try:
        set_team_limits(team, by=user_of(request), **form.cleaned_data)
    except LimitRefused as refused:
        return users_page(request, error=str(refused), status=422)
    messages.success(request, f"The limits of {team.name} are set. {HOLDS}")
    return redirect("user-list")


@require_POST
@must_run_accounts
def user_limit(request: HttpRequest, pk: int) -> HttpResponse:
    person, form = get_object_or_404(User, pk=pk), MemberLimitForm(request.POST)
    if not form.is_valid():
        return users_page(request, error=_first_error(form, person.name), status=422)
    try:
        set_member_limit(person, by=user_of(request), running_limit=form.cleaned_data["running_limit"])
    except LimitRefused as refused:
        return users_page(request, error=str(refused), status=422)
    messages.success(request, f"The limit of {person.name} is set. {HOLDS}")
    return redirect("user-list")


def _first_error(form: TeamLimitsForm | MemberLimitForm, whose: str) -> str:
    name, errors = next(iter(form.errors.items()))
    return f"The limit of {whose} was left as it is. {form.fields[name].label}: {errors[0]}"
