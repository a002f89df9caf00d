"""Who asks: the session of the dashboard. Writes need its CSRF token as well."""

from typing import cast

from django.conf import settings
from django.http import HttpRequest
from ninja.security import APIKeyCookie

from webapp.accounts.models import User


class SessionCookie(APIKeyCookie):
    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> User | None:
        """Strangers get a 401 before anything is said about CSRF."""
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> User | None:
        return user_of(request)


def user_of(request: HttpRequest) -> User:
    return cast(User, request.user)
