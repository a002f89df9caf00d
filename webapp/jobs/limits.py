"""How many slots a team and a member may hold at once, and how many they hold."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q

from webapp.accounts.models import Team, User
from webapp.jobs.fair_share import Held

NO_LIMIT = 2**31
HAS_LIMIT = Q(running_limit__isnull=False) | Q(member_running_limit__isnull=False)


@dataclass(frozen=True)
class Limits:
    teams: Mapping[int, Team]
    """Those that have a limit of either kind."""
    members: Mapping[int, int]
    """Limits of those who have one of their own."""
    team_slots: Mapping[int, int]
    member_slots: Mapping[int, int]

    def team_limit(self, team: int) -> int | None:
        return self.teams[team].running_limit if team in self.teams else None

    def member_limit(self, team: int, owner: int) -> int | None:
        if owner in self.members:
            return self.members[owner]
        return self.teams[team].member_running_limit if team in self.teams else None

    def room(self, team: int, owner: int) -> int:
        """Slots that a job of this member may still take; 0 or less: none."""
        team_limit, member_limit = self.team_limit(team), self.member_limit(team, owner)
        of_team = NO_LIMIT if team_limit is None else team_limit - self.team_slots.get(team, 0)
        of_member = NO_LIMIT if member_limit is None else member_limit - self.member_slots.get(owner, 0)
        return min(of_team, of_member)


@dataclass(frozen=True)
class Limited:
    """The rows of those with a limit, before anybody looked at what they hold."""

    teams: list[Team]
    users: list[User]

    def with_held(self, held: Iterable[Held]) -> Limits:
        of_teams: Counter[int] = Counter()
        of_members: Counter[int] = Counter()
        for job in held:
            of_teams[job.team] += job.slots
            of_members[job.owner] += job.slots
        own = {user.pk: user.running_limit for user in self.users if user.running_limit is not None}
        return Limits({team.pk: team for team in self.teams}, own, of_teams, of_members)


def limited_among(*, teams: set[int], owners: set[int], lock: bool = False) -> Limited:
    """`lock` holds their rows until the transaction ends, so that two claims in two pools cannot both take the last slot.

    What they hold must be read after it. Rows are locked in one order, teams first; a NO KEY lock lets inserts that name them pass.
    """
    with_limit = teams & set(Team.objects.filter(HAS_LIMIT).values_list("pk", flat=True))  # mostly none: no lock then
    with_own = owners & set(User.objects.filter(running_limit__isnull=False).values_list("pk", flat=True))
    of_teams = Team.objects.filter(pk__in=with_limit).order_by("pk")
    of_users = User.objects.filter(pk__in=with_own).only("running_limit").order_by("pk")
    if lock:
        of_teams, of_users = of_teams.select_for_update(no_key=True), of_users.select_for_update(no_key=True)
    return Limited(list(of_teams) if with_limit else [], list(of_users) if with_own else [])
