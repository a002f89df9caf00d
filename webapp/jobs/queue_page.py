"""The queue of a pool as a page: the order in which its jobs are taken, and why each waits. A team's names are for that team alone."""

from dataclasses import dataclass

from webapp.accounts.models import User
from webapp.accounts.permissions import may_run_pools
from webapp.jobs.fair_share import shares_at
from webapp.jobs.models import Job
from webapp.jobs.order import jobs_in_order
from webapp.jobs.pool_now import pool_now
from webapp.jobs.waiting import waiting_reason
from webapp.pools.models import WorkerPool

MOST_ROWS = 50


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
    """Of its priority: nobody moves a job past one that is more urgent."""
    is_last: bool


@dataclass(frozen=True)
class QueuePage:
    pool: WorkerPool
    rows: list[QueueRow]
    total: int
    may_move: bool

    @property
    def common_reason(self) -> str:
        """When all wait for the same (no worker is there), it is said once."""
        reasons = {row.reason for row in self.rows if row.is_known}
        return reasons.pop() if len(reasons) == 1 and len(self.rows) > 1 else ""

    @property
    def unlisted(self) -> int:
        return self.total - len(self.rows)


def queue_page(pool: WorkerPool, reader: User) -> QueuePage:
    now = pool_now(pool.pk)
    waiting = now.ordered[: MOST_ROWS + 1]  # one more says whether the last row has one of its priority behind it
    used = shares_at(now.now, held=now.held).members
    jobs = jobs_in_order(waiting[:MOST_ROWS])
    rows = [
        QueueRow(
            position=place,
            job=job,
            is_known=reader.is_admin or job.team_id == reader.team_id,
            used_seconds=used.get(job.owner_id, 0.0),
            reason=waiting_reason(job, pool=now) if reader.is_admin or job.team_id == reader.team_id else "",
            is_first=place == 1 or waiting[place - 2].priority != job.priority,
            is_last=place == len(waiting) or waiting[place].priority != job.priority,
        )
        for place, job in enumerate(jobs, start=1)
    ]
    return QueuePage(pool, rows, len(now.ordered), may_run_pools(reader))
