"""One-time links: made with a token that is shown once, used by compare-and-set, so that two clicks are one."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from webapp.accounts.models import LinkKind, OneTimeLink, Team, User
from webapp.secrets import new_token, token_hash

PREFIX = "nbl"


class DeadLink(Exception):
    """Expired, used before, or its user was disabled meanwhile."""


class DisabledUser(Exception):
    def __init__(self, user: User) -> None:
        super().__init__(f"{user.name} is disabled and could not use a sign-in link. Enable the account first.")


class EmailTaken(Exception):
    def __init__(self, email: str) -> None:
        super().__init__(f"{email} has an account already. Make a sign-in link for it instead.")


def is_alive(link: OneTimeLink) -> bool:
    if link.used_at or link.expires_at <= timezone.now():
        return False
    return link.user is None or link.user.is_active


def make_sign_in_link(user: User, *, by: User | None, hours: float) -> str:
    """The token of a new link; links made for the same user before end with it."""
    if not user.is_active:
        raise DisabledUser(user)
    token, now = new_token(PREFIX), timezone.now()
    with transaction.atomic():
        OneTimeLink.objects.filter(user=user, used_at=None, expires_at__gt=now).update(expires_at=now)
        OneTimeLink.objects.create(
            kind=LinkKind.SIGN_IN, token_hash=token_hash(token), user=user, created_by=by, expires_at=now + timedelta(hours=hours)
        )
    return token


def invite(email: str, *, team: Team, role: str, by: User, hours: float) -> str:
    """The token of a new invitation; an older one for the same address ends with it."""
    if User.objects.filter(email=email).exists():
        raise EmailTaken(email)
    token, now = new_token(PREFIX), timezone.now()
    with transaction.atomic():
        OneTimeLink.objects.filter(kind=LinkKind.INVITE, email=email, used_at=None, expires_at__gt=now).update(expires_at=now)
        OneTimeLink.objects.create(
            kind=LinkKind.INVITE,
            token_hash=token_hash(token),
            email=email,
            team=team,
            role=role,
            created_by=by,
            expires_at=now + timedelta(hours=hours),
        )
    return token


def withdraw(link: OneTimeLink) -> None:
    OneTimeLink.objects.filter(pk=link.pk, used_at=None).update(expires_at=timezone.now())


def use_up(link: OneTimeLink) -> None:
    """Whoever changes the row first has used the link; everyone else finds it dead."""
    now = timezone.now()
    used = OneTimeLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(used_at=now)
    if not used or not is_alive_user(link):
        raise DeadLink


def is_alive_user(link: OneTimeLink) -> bool:
    return link.user_id is None or User.objects.filter(pk=link.user_id, is_active=True).exists()
