"""The signed-in user of a request, as the type checker should see them."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from webapp.accounts.models import User


def user_of(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")  # the middleware has sent anonymous visitors away already
    return request.user
