"""Who used how much GPU time lately, halved for every day since: the team, then the member, with the least goes first.

What ended is kept in UsedTime; what runs counts as it runs, from the open attempts. Both are worth the same at the moment of
the end, so nothing jumps, and nothing counts twice: the end deletes the held slots, and only who deleted them counts their time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from webapp.jobs.models import OPEN_ATTEMPT, Attempt, HeldSlot, Job, UsedTime

DAY = 86_400.0
JUST_STARTED = 60.0  # a job that was claimed this second counts as a minute, so that claims of one moment alternate too


@dataclass(frozen=True)
class Held:
    """A job in the hands of a worker."""

    team: int
    owner: int
    slots: int
    since: datetime


@dataclass(frozen=True)
class Shares:
    """Decayed GPU seconds, by id."""

    teams: Mapping[int, float]
    members: Mapping[int, float]

    def of(self, team: int, owner: int) -> tuple[float, float]:
        """What a job's place depends on after priority and rank."""
        return self.teams.get(team, 0.0), self.members.get(owner, 0.0)


def worth(seconds: float) -> float:
    """Of a stretch that ends now: each of its seconds is halved for every day since, so it never exceeds 1.44 days."""
    return DAY / math.log(2) * (1 - math.exp2(-max(0.0, seconds) / DAY))


def decayed(seconds: float, *, age: timedelta) -> float:
    return seconds * math.exp2(-max(0.0, age.total_seconds()) / DAY)


def held_jobs() -> list[Held]:
    """Of all pools: a team's GPU time and limits know no pools."""
    rows = Attempt.objects.filter(status__in=OPEN_ATTEMPT)
    return [Held(*row) for row in rows.values_list("job__team_id", "job__owner_id", "job__slots", "claimed_at")]


def shares_at(now: datetime, *, held: Iterable[Held]) -> Shares:
    teams: defaultdict[int, float] = defaultdict(float)
    members: defaultdict[int, float] = defaultdict(float)
    for owner, team, seconds, as_of in UsedTime.objects.values_list("user_id", "user__team_id", "seconds", "as_of"):
        left = decayed(seconds, age=now - as_of)
        teams[team] += left
        members[owner] += left
    for job in held:
        running = job.slots * worth(max(JUST_STARTED, (now - job.since).total_seconds()))
        teams[job.team] += running
        members[job.owner] += running
    return Shares(teams, members)


def release_slots(attempt: Attempt, *, at: datetime) -> None:
    """At the end of an attempt: gives its slots back and counts their time, once, however often an end is told."""
    with transaction.atomic():
        slots, _ = HeldSlot.objects.filter(attempt=attempt.pk).delete()
        if slots:
            owner = Job.objects.values_list("owner_id", flat=True).get(pk=attempt.job_id)
            _add(owner, seconds=slots * worth((at - attempt.claimed_at).total_seconds()), at=at)


def _add(user: int, *, seconds: float, at: datetime) -> None:
    """The row's lock lets two ends of one member's jobs add up."""
    UsedTime.objects.bulk_create([UsedTime(user_id=user, as_of=at)], ignore_conflicts=True)
    used = UsedTime.objects.select_for_update().get(user_id=user)
    as_of = max(at, used.as_of)
    total = decayed(used.seconds, age=as_of - used.as_of) + decayed(seconds, age=as_of - at)
    UsedTime.objects.filter(pk=used.pk).update(seconds=total, as_of=as_of)
