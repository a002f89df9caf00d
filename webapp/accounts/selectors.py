"""Reads of accounts: teams with their people, open invitations, the link behind a token."""

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from webapp.accounts.models import LinkKind, OneTimeLink, Team, User
from webapp.secrets import token_hash


def teams_with_people() -> QuerySet[Team]:
    return Team.objects.order_by("name").prefetch_related(Prefetch("users", User.objects.order_by("-is_active", "name", "pk")))


def people_of(team: Team) -> QuerySet[User]:
    return team.users.filter(is_active=True).order_by("name", "pk")


def open_invitations() -> QuerySet[OneTimeLink]:
    links = OneTimeLink.objects.filter(kind=LinkKind.INVITE, used_at=None, expires_at__gt=timezone.now())
    return links.select_related("team", "created_by").order_by("-created_at")


def link_behind(token: str) -> OneTimeLink | None:
    links = OneTimeLink.objects.select_related("user", "team", "created_by")
    return links.filter(token_hash=token_hash(token)).first()


def first_active_administrator() -> User | None:
    return User.objects.filter(role="admin", is_active=True).order_by("pk").first()
