"""Users & teams, for administrators: invite, disable, enable, help back in."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.addresses import public_url
from webapp.accounts.forms import InviteForm, TeamForm
from webapp.accounts.links import DisabledUser, EmailTaken, invite, withdraw
from webapp.accounts.models import LinkKind, OneTimeLink, User
from webapp.accounts.permissions import must_run_accounts
from webapp.accounts.requests import user_of
from webapp.accounts.selectors import open_invitations, teams_with_people
from webapp.accounts.services import (
    LastAdministrator,
    OwnAccount,
    TeamNameTaken,
    create_team,
    disable_user,
    enable_user,
    make_sign_in_link,
)

SIGN_IN_HOURS = 24


@dataclass(frozen=True)
class NewLink:
    """Shown once, in the reply to the click that made it."""

    title: str
    url: str
    advice: str


@require_safe
@must_run_accounts
def user_list(request: HttpRequest) -> HttpResponse:
    return users_page(request)


@require_POST
@must_run_accounts
def team_create(request: HttpRequest) -> HttpResponse:
    form = TeamForm(request.POST)
    if form.is_valid():
        try:
            team = create_team(form.cleaned_data["name"])
        except TeamNameTaken as refusal:
            form.add_error("name", str(refusal))
        else:
            messages.success(request, f"Team “{team.name}” is there. Invite its people.")
            return redirect("user-list")
    return users_page(request, team_form=form, status=422)


@never_cache
@require_POST
@must_run_accounts
def user_invite(request: HttpRequest) -> HttpResponse:
    form = InviteForm(request.POST)
    if not form.is_valid():
        return users_page(request, invite_form=form, status=422)
    asked = form.cleaned_data
    try:
        token = invite(asked["email"], team=asked["team"], role=asked["role"], by=user_of(request), hours=asked["hours"])
    except EmailTaken as refusal:
        form.add_error("email", str(refusal))
        return users_page(request, invite_form=form, status=409)
    advice = f"Send it to {asked['email']}. It works once, for {asked['hours']} hours, and is not shown again."
    return users_page(request, new_link=NewLink("Invitation link", public_url(request, "link", token), advice))


@require_POST
@must_run_accounts
def invitation_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(OneTimeLink, pk=pk, kind=LinkKind.INVITE)
    withdraw(found)
    messages.success(request, f"The invitation of {found.email} no longer works.")
    return redirect("user-list")


@never_cache
@require_POST
@must_run_accounts
def user_sign_in_link(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        token = make_sign_in_link(user, by=user_of(request), hours=SIGN_IN_HOURS)
    except DisabledUser as refusal:
        return users_page(request, error=str(refusal), status=409)
    advice = f"Send it to {user.name}. It signs them in once, within {SIGN_IN_HOURS} hours, lets them set a new password, and is not shown again."
    return users_page(request, new_link=NewLink(f"Sign-in link for {user.name}", public_url(request, "link", token), advice))


@require_POST
@must_run_accounts
def user_disable(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        disable_user(user, by=user_of(request))
    except (LastAdministrator, OwnAccount) as refusal:
        return users_page(request, error=str(refusal), status=409)
    messages.success(request, f"{user.name} can no longer sign in. Their jobs and datasets stay.")
    return redirect("user-list")


@require_POST
@must_run_accounts
def user_enable(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    enable_user(user)
    messages.success(request, f"{user.name} can sign in again.")
    return redirect("user-list")


def users_page(
    request: HttpRequest,
    *,
    team_form: TeamForm | None = None,
    invite_form: InviteForm | None = None,
    new_link: NewLink | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "teams": teams_with_people(),
        "invitations": open_invitations(),
        "team_form": team_form or TeamForm(),
        "invite_form": invite_form or InviteForm(),
        "new_link": new_link,
        "error": error,
    }
    return render(request, "accounts/users.html", context, status=status)
