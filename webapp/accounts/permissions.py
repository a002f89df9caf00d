"""The one module that answers "may this user do that?". What a user may not see does not exist for them: 404, not 403."""

from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from webapp.accounts.models import User

AnyModel = TypeVar("AnyModel", bound=Model)


class Owned(Protocol):
    owner_id: int
    team_id: int


def visible_to(user: User, things: QuerySet[AnyModel], *, team_field: str = "team") -> QuerySet[AnyModel]:
    """Those of `things` that the user may see: all for an administrator, else the own team's."""
    return things if user.is_admin else things.filter(**{team_field: user.team_id})


def may_change(user: User, thing: Owned) -> bool:
    """Cancel, rename, delete: the owner and administrators; team-mates may look."""
    return user.is_active and (user.is_admin or (thing.owner_id == user.pk and thing.team_id == user.team_id))


def may_run_pools(user: User) -> bool:
    return user.is_active and user.is_admin


def may_run_accounts(user: User) -> bool:
    return user.is_active and user.is_admin


def may_run_catalog(user: User) -> bool:
    return user.is_active and user.is_admin


View = Callable[..., HttpResponse]


def only_if(is_allowed: Callable[[User], bool]) -> Callable[[View], View]:
    """A view for administrators. That their pages exist is no secret, so members get 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
            if not isinstance(request.user, User) or not is_allowed(request.user):
                raise PermissionDenied("This page is for administrators.")
            return view(request, **kwargs)

        return guarded

    return decorate


must_run_accounts = only_if(may_run_accounts)
must_run_pools = only_if(may_run_pools)
must_run_catalog = only_if(may_run_catalog)
