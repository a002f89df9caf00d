"""Writes of accounts: people and teams come, change and go."""

from django.db import IntegrityError, transaction

from webapp.accounts.links import EmailTaken, use_up
from webapp.accounts.links import make_sign_in_link as make_sign_in_link
from webapp.accounts.models import OneTimeLink, Role, Team, User
from webapp.accounts.permissions import may_run_accounts


class LastAdministrator(Exception):
    def __init__(self) -> None:
        super().__init__("This is the last active administrator. Make somebody else an administrator first.")


class OwnAccount(Exception):
    def __init__(self) -> None:
        super().__init__("You cannot disable your own account. Ask another administrator to do it.")


class TeamNameTaken(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a team named “{name}”.")


def normal_email(text: str) -> str:
    """Addresses differ in capitals for no mail server that matters: Ada@x.org and ada@x.org are one person."""
    return text.strip().lower()


def create_team(name: str) -> Team:
    try:
        with transaction.atomic():
            return Team.objects.create(name=name)
    except IntegrityError:
        raise TeamNameTaken(name) from None


def first_administrator(*, email: str, name: str, team: Team) -> User:
    """The one who is there from the start, without a password: a sign-in link lets them set one."""
    user, made = User.objects.get_or_create(email=normal_email(email), defaults={"name": name, "team": team, "role": Role.ADMIN})
    if made:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def accept_sign_in(link: OneTimeLink) -> User:
    use_up(link)
    assert link.user is not None
    return link.user


def accept_invitation(link: OneTimeLink, *, name: str, password: str) -> User:
    """The link and the account stand or fall together."""
    assert link.team is not None
    with transaction.atomic():
        use_up(link)
        if User.objects.filter(email=link.email).exists():
            raise EmailTaken(link.email)
        user = User(email=link.email, name=name, team=link.team, role=link.role)
        user.set_password(password)
        user.save()
    return user


def change_name(user: User, *, name: str) -> None:
    user.name = name
    user.save(update_fields=["name"])


def set_hub_token(user: User, *, hub_token: str) -> None:
    """An empty one takes it away."""
    user.hub_token = hub_token or None
    user.save(update_fields=["hub_token"])


def change_password(user: User, *, password: str) -> None:
    """Every other session of the user ends with the old password."""
    user.set_password(password)
    user.save(update_fields=["password"])


def disable_user(user: User, *, by: User) -> None:
    """Their next request finds them signed out; what they made stays."""
    if user.pk == by.pk:
        raise OwnAccount
    with transaction.atomic():
        admins = User.objects.select_for_update().filter(role=Role.ADMIN, is_active=True).order_by("pk")
        if [admin.pk for admin in admins] == [user.pk]:
            raise LastAdministrator
        User.objects.filter(pk=user.pk).update(is_active=False)


def enable_user(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=True)


class LimitRefused(Exception):
    """`field` names the limit at fault, empty when none is."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


MOST_LIMIT = 10_000
Limit = int | None
"""Slots held at once; None: as many as there are, 0: none."""


def set_team_limits(team: Team, *, by: User, running_limit: Limit, member_running_limit: Limit) -> None:
    """What runs above a new limit goes on; nothing more is started. Raises LimitRefused."""
    _check_limits(by, running_limit=running_limit, member_running_limit=member_running_limit)
    Team.objects.filter(pk=team.pk).update(running_limit=running_limit, member_running_limit=member_running_limit)
    team.running_limit, team.member_running_limit = running_limit, member_running_limit


def set_member_limit(user: User, *, by: User, running_limit: Limit) -> None:
    """Wins over the team's limit for its members; None: the team's counts. Raises LimitRefused."""
    _check_limits(by, running_limit=running_limit)
    User.objects.filter(pk=user.pk).update(running_limit=running_limit)
    user.running_limit = running_limit


def _check_limits(by: User, **limits: Limit) -> None:
    if not may_run_accounts(by):
        raise LimitRefused("Only administrators may change limits. Ask one of them.")
    for name, value in limits.items():
        if value is not None and not 0 <= value <= MOST_LIMIT:
            raise LimitRefused(f"Give 0 to {MOST_LIMIT:,} slots, or nothing for no limit.", field=name)
