"""Signing in and out."""

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from webapp.accounts.forms import SignInForm
from webapp.accounts.throttle import TooManyAttempts, attempt_key, forget_attempts, note_attempt

WRONG = "E-mail or password is wrong. Ask an administrator for a sign-in link if you forgot the password."


def destination(request: HttpRequest) -> str:
    """Where the visitor wanted to go, if that is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else resolve_url(settings.LOGIN_REDIRECT_URL)


@never_cache
@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect(destination(request))
    form = SignInForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form=form, status=422 if form.is_bound else 200)
    try:
        return _try(request, form=form)
    except TooManyAttempts as refusal:
        response = _page(request, form=form, error=str(refusal), status=429)
        response.headers["Retry-After"] = str(refusal.retry_after)
        return response


def _try(request: HttpRequest, *, form: SignInForm) -> HttpResponse:
    email = form.cleaned_data["email"]
    key = attempt_key(email=email, address=request.META.get("REMOTE_ADDR", ""))
    note_attempt(key)
    user = authenticate(request, username=email, password=form.cleaned_data["password"])
    if user is None:
        return _page(request, form=form, error=WRONG, status=401)
    forget_attempts(key)
    login(request, user)
    return redirect(destination(request))


def _page(request: HttpRequest, *, form: SignInForm, error: str = "", status: int) -> HttpResponse:
    context = {"form": form, "error": error, "next": destination(request)}
    return render(request, "accounts/sign_in.html", context, status=status)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)
