"""The own account: name, password, team."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.forms import ChangePasswordForm, HubTokenForm, NameForm
from webapp.accounts.requests import user_of
from webapp.accounts.selectors import people_of
from webapp.accounts.services import change_name, change_password, set_hub_token


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
def rename(request: HttpRequest) -> HttpResponse:
    form = NameForm(request.POST)
    if not form.is_valid():
        return _page(request, name_form=form, status=422)
    change_name(user_of(request), name=form.cleaned_data["name"])
    messages.success(request, "Your name is changed.")
    return redirect("account")


@sensitive_post_parameters()
@require_POST
def new_password(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    form = ChangePasswordForm(request.POST, user=user)
    if not form.is_valid():
        return _page(request, password_form=form, status=422)
    change_password(user, password=form.cleaned_data["password"])
    update_session_auth_hash(request, user)
    messages.success(request, "Your password is changed. Other browsers in which you were signed in are signed out.")
    return redirect("account")


@sensitive_post_parameters()
@require_POST
def hub_token(request: HttpRequest) -> HttpResponse:
    """`remove` takes it away."""
    user = user_of(request)
    if "remove" in request.POST:
        set_hub_token(user, hub_token="")
        messages.success(request, "Your Hugging Face token is removed.")
        return redirect("account")
    form = HubTokenForm(request.POST)
    if not form.is_valid():
        return _page(request, hub_token_form=form, status=422)
    set_hub_token(user, hub_token=form.cleaned_data["hub_token"])
    messages.success(request, "Your Hugging Face token is stored.")
    return redirect("account")


def _page(
    request: HttpRequest,
    *,
    name_form: NameForm | None = None,
    password_form: ChangePasswordForm | None = None,
    hub_token_form: HubTokenForm | None = None,
    status: int = 200,
) -> HttpResponse:
    user = user_of(request)
    context = {
        "name_form": name_form or NameForm(initial={"name": user.name}),
        "password_form": password_form or ChangePasswordForm(user=user),
        "hub_token_form": hub_token_form or HubTokenForm(),
        "people": people_of(user.team),
    }
    return render(request, "accounts/account.html", context, status=status)
