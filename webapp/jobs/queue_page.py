"""The queue of a pool as a page: the order in which its jobs are taken, and why each waits. A team's names are for that team alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.accounts.models import User
from webapp.accounts.permissions import may_run_pools
from webapp.jobs.clock import database_now
from webapp.jobs.fair_share import held_jobs, shares_at
from webapp.jobs.models import Job
from webapp.jobs.queue import queue_of
from webapp.jobs.waiting import waiting_reason
from webapp.pools.models import WorkerPool

MOST_ROWS = 50  # a reason is looked up for each


@dataclass(frozen=True)
class QueueRow:
    position: int
    job: Job
    is_known: bool
    """Of the reader's team, or the reader sees all."""
    used_seconds: float
    """GPU time that the owner used lately, halved every day; what runs now counts."""
    reason: str
    is_first: bool
    is_last: bool


@dataclass(frozen=True)
class QueuePage:
    pool: WorkerPool
    rows: list[QueueRow]
    total: int
    may_move: bool

    @property
    def unlisted(self) -> int:
        return self.total - len(self.rows)


def queue_page(pool: WorkerPool, reader: User) -> QueuePage:
    waiting = queue_of(pool)
    shown = waiting[:MOST_ROWS]
    used = shares_at(database_now(), held=held_jobs()).members
    rows = [_row(job, place, len(waiting), reader, used) for place, job in enumerate(shown, start=1)]
    return QueuePage(pool, rows, len(waiting), may_run_pools(reader))


def _row(job: Job, place: int, total: int, reader: User, used: Mapping[int, float]) -> QueueRow:
    is_known = reader.is_admin or job.team_id == reader.team_id
    reason = waiting_reason(job) if is_known else ""
    return QueueRow(place, job, is_known, used.get(job.owner_id, 0.0), reason, is_first=place == 1, is_last=place == total)
