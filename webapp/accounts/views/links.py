"""One-time links. A GET shows a button or a form and uses nothing up: mail scanners open every link they see."""

import time

from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from webapp.accounts.forms import AcceptInvitationForm, NewPasswordForm
from webapp.accounts.links import DeadLink, EmailTaken, is_alive
from webapp.accounts.models import LinkKind, OneTimeLink, User
from webapp.accounts.requests import user_of
from webapp.accounts.selectors import link_behind
from webapp.accounts.services import accept_invitation, accept_sign_in, change_password

BACKEND = "django.contrib.auth.backends.ModelBackend"
MAY_SET_PASSWORD = "may_set_password_until"  # noqa: S105  (a key of the session)
SECONDS_TO_SET = 1800  # a session left open may not change the password without the old one for ever


@never_cache
@login_not_required
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def link(request: HttpRequest, token: str) -> HttpResponse:
    found = link_behind(token)
    if found is None:
        return _dead(request, status=404)
    if not is_alive(found):
        return _dead(request, status=410)
    try:
        return _invitation(request, found) if found.kind == LinkKind.INVITE else _sign_in(request, found)
    except DeadLink:
        return _dead(request, status=410)


def _dead(request: HttpRequest, *, status: int) -> HttpResponse:
    return render(request, "accounts/dead_link.html", status=status)


def _sign_in(request: HttpRequest, found: OneTimeLink) -> HttpResponse:
    if request.method != "POST":
        return render(request, "accounts/sign_in_link.html", {"link": found})
    user = accept_sign_in(found)
    login(request, user, backend=BACKEND)
    request.session[MAY_SET_PASSWORD] = time.time() + SECONDS_TO_SET
    return redirect("set-password")


def _invitation(request: HttpRequest, found: OneTimeLink) -> HttpResponse:
    form = AcceptInvitationForm(request.POST or None, email=found.email)
    if form.is_valid():
        try:
            user = accept_invitation(found, name=form.cleaned_data["name"], password=form.cleaned_data["password"])
        except EmailTaken as refusal:
            form.add_error(None, str(refusal))
        else:
            login(request, user, backend=BACKEND)
            return redirect("overview")
    return render(request, "accounts/invitation.html", {"link": found, "form": form}, status=422 if form.is_bound else 200)


@never_cache
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def set_password(request: HttpRequest) -> HttpResponse:
    """Only for half an hour after a sign-in link: it stands in for the old password."""
    user = user_of(request)
    if request.session.get(MAY_SET_PASSWORD, 0) < time.time():
        raise PermissionDenied("Use a new sign-in link to set a password without the old one.")
    form = NewPasswordForm(request.POST or None, user=user)
    if form.is_valid():
        return _password_is_set(request, user, password=form.cleaned_data["password"])
    return render(request, "accounts/set_password.html", {"form": form}, status=422 if form.is_bound else 200)


def _password_is_set(request: HttpRequest, user: User, *, password: str) -> HttpResponse:
    change_password(user, password=password)
    update_session_auth_hash(request, user)
    del request.session[MAY_SET_PASSWORD]
    return redirect("overview")
