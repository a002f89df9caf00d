"""When will a queued job start? A range, from the slots of its pool, what runs there, what is ahead, and how long jobs took lately."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.jobs.durations import FEWEST, Durations, durations_for
from webapp.jobs.machines import need_of
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, Job, JobStatus
from webapp.jobs.order import Waiting
from webapp.jobs.pool_now import PoolNow, pool_now
from webapp.templatetags.units import duration


@dataclass(frozen=True)
class StartRange:
    """As it looks now: jobs that come later may go first by their priority or share."""

    earliest: datetime
    latest: datetime
    why: str
    """What it was reckoned from, in words."""


@dataclass(frozen=True)
class Running:
    """An open attempt: whose, on which slots, and for how long it has run."""

    team: int
    owner: int
    slots: int
    seconds: float
    seconds_left: float | None
    """As the trainer tells it."""

    def left(self, usual: float) -> float:
        return self.seconds_left if self.seconds_left is not None else max(0.0, usual - self.seconds)


def expected_start(job: Job) -> StartRange | None:
    """None for a job that is not queued, and while nothing can be said; why_no_start says why."""
    return _outlook(job)[0]


def why_no_start(job: Job) -> str:
    """Why there is no expected start, as a sentence; empty if there is one."""
    return _outlook(job)[1]


def _outlook(job: Job) -> tuple[StartRange | None, str]:
    if job.status != JobStatus.QUEUED:
        return None, "The job is not queued."
    pool = pool_now(job.pool_id)
    if not any(pool.machine(worker).fits_empty(need_of(job)) for worker in pool.online):
        return None, f"No worker of pool {job.pool.name} that is online could run the job."
    past = durations_for(job)
    if past is None:
        return None, f"An expected start is shown once {FEWEST} jobs of pool {job.pool.name} have succeeded."
    return _range(job, past, pool)


def _range(job: Job, past: Durations, pool: PoolNow) -> tuple[StartRange | None, str]:
    running, numbers = _running(pool.now), {worker.pk for worker in pool.online}
    here, everywhere = [one for worker, one in running if worker in numbers], [one for _, one in running]
    slots, ahead = sum(pool.machine(worker).slots for worker in pool.online), pool.ahead_of(job)
    pause = (job.not_before - pool.now).total_seconds() if job.not_before else 0.0
    bounds = []
    for usual in (past.median, past.p90):
        held_up = _until_limits_allow(job, pool, everywhere, usual=usual)
        if held_up is None:
            return None, "The limit of slots held at once allows none for this job."
        bounds.append(max(pause, held_up, _simulated(job.slots, ahead, running=here, slots=slots, usual=usual)))
    told = _told(job, past, ahead=len(ahead))
    return StartRange(pool.now + timedelta(seconds=bounds[0]), pool.now + timedelta(seconds=max(bounds)), told), ""


def _running(now: datetime) -> list[tuple[int, Running]]:
    """(worker, what it runs)."""
    rows = Attempt.objects.filter(status__in=OPEN_ATTEMPT).values_list(
        "worker_id", "job__team_id", "job__owner_id", "job__slots", "claimed_at", "job__progress"
    )
    return [
        (worker, Running(team, owner, slots, max(0.0, (now - at).total_seconds()), (progress or {}).get("seconds_left")))
        for worker, team, owner, slots, at, progress in rows
    ]


def _simulated(width: int, ahead: Iterable[Waiting], *, running: Iterable[Running], slots: int, usual: float) -> float:
    """Seconds until `width` slots are free, when each job ahead takes the first that get free and holds them as long as usual."""
    free_at = [left for one in running for left in [one.left(usual)] * one.slots][:slots]
    free_at += [0.0] * (slots - len(free_at))
    heapq.heapify(free_at)
    for wide in (waiting.slots for waiting in ahead if waiting.slots <= slots):
        start = max(heapq.heappop(free_at) for _ in range(wide))
        for _ in range(wide):
            heapq.heappush(free_at, start + usual)
    return max(heapq.nsmallest(width, free_at))


def _until_limits_allow(job: Job, pool: PoolNow, running: Iterable[Running], *, usual: float) -> float | None:
    """Seconds until enough of the team's jobs have ended; None if that would not help."""
    missing = job.slots - pool.limits.room(job.team_id, job.owner_id)
    ends = sorted((one.left(usual), one.slots) for one in running if one.team == job.team_id)
    for left, slots in [(0.0, 0), *ends]:
        missing -= slots
        if missing <= 0:
            return left
    return None


def _told(job: Job, past: Durations, *, ahead: int) -> str:
    which = f"with {job.base_model.name} " if past.of_same_model else ""
    jobs = f"the last {past.jobs:,} jobs {which}in pool {job.pool.name}"
    return f"{ahead:,} ahead; {jobs} took {duration(past.median)} (half of them) to {duration(past.p90)} (nine of ten)."
