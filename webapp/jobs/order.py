"""The whole queue of a pool in the order in which its jobs will be taken, as far as that is known now.

A claim asks only who used least at this moment; here each job taken counts for its team and its member as much as jobs of the pool
usually take, so that the list interleaves teams and members as the claims to come will do.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from webapp.jobs.clock import database_now
from webapp.jobs.durations import typical_seconds
from webapp.jobs.fair_share import Shares, held_jobs, shares_at
from webapp.jobs.models import Job, JobStatus

LONG = 500  # a queue of more jobs is put in order once a second for all who ask (10,000 take about 60 ms)
KEPT_SECONDS = 1.0
_kept: dict[int, tuple[float, list["Waiting"]]] = {}


@dataclass(frozen=True)
class Waiting:
    """A queued job, as far as its place depends on it."""

    job: int
    priority: int
    rank: int
    team: int
    owner: int
    queued_at: datetime
    slots: int


def order_of(pool: int, *, is_fresh: bool = False) -> list[Waiting]:
    """`is_fresh`: never as it was a second ago."""
    until, known = _kept.get(pool, (0.0, []))
    if time.monotonic() < until and not is_fresh:
        return known
    now = database_now()
    ordered = in_order(_queued(pool), shares=shares_at(now, held=held_jobs()), each=typical_seconds(pool))
    _kept.pop(pool, None)
    if len(ordered) > LONG:
        _kept[pool] = time.monotonic() + KEPT_SECONDS, ordered
    return ordered


def _queued(pool: int) -> list[Waiting]:
    rows = Job.objects.filter(pool=pool, status=JobStatus.QUEUED).order_by("queued_at", "pk")
    found = rows.values_list("pk", "priority", "queue_rank", "team_id", "owner_id", "queued_at", "slots")
    return [Waiting(pk, priority, rank, team, owner, at, slots) for pk, priority, rank, team, owner, at, slots in found if at]


def in_order(queued: Iterable[Waiting], *, shares: Shares, each: float) -> list[Waiting]:
    """`queued`: by the time of queueing. `each`: seconds that a job counts for once it is taken."""
    ordered: list[Waiting] = []
    teams, members = defaultdict(float, shares.teams), defaultdict(float, shares.members)
    first = sorted(queued, key=lambda job: (-job.priority, -job.rank))  # stable: the time of queueing stays the order in each
    for _, band in groupby(first, key=lambda job: (job.priority, job.rank)):
        ordered += _interleaved(list(band), teams=teams, members=members, each=each)
    return ordered


def _interleaved(
    band: list[Waiting], *, teams: defaultdict[int, float], members: defaultdict[int, float], each: float
) -> list[Waiting]:
    """What a member will have used when their turn comes orders the jobs of a team; what the team will have used, the teams'.

    `teams` and `members` go on to what they will have used once the whole band is taken.
    """
    of_members = []
    for job in band:
        of_members.append((members[job.owner], job))
        members[job.owner] += each * job.slots
    of_members.sort(key=lambda pair: (pair[0], pair[1].queued_at, pair[1].job))
    of_teams = []
    for used, job in of_members:
        of_teams.append((teams[job.team], used, job))
        teams[job.team] += each * job.slots
    of_teams.sort(key=lambda entry: (entry[0], entry[1], entry[2].queued_at, entry[2].job))
    return [job for _, _, job in of_teams]


def place_of(job: Job, ordered: list[Waiting]) -> int:
    """Jobs before it; all of them if it has just left the queue."""
    return next((place for place, waiting in enumerate(ordered) if waiting.job == job.pk), len(ordered))


def jobs_in_order(ordered: Iterable[Waiting]) -> list[Job]:
    """Their rows, with whose they are."""
    numbers = [waiting.job for waiting in ordered]
    rows = Job.objects.select_related("owner", "team", "pool", "base_model").in_bulk(numbers)
    return [rows[number] for number in numbers if number in rows]
