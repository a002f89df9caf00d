"""A pool at one moment: its workers, what they hold, its queue, the limits. Read once for all jobs that ask why they wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from webapp.jobs.clock import database_now
from webapp.jobs.fair_share import Held, held_jobs
from webapp.jobs.limits import Limits, limited_among
from webapp.jobs.machines import machines_of
from webapp.jobs.models import Job
from webapp.jobs.order import Waiting, order_of, place_of
from webapp.pools.board import is_online
from webapp.pools.fit import Machine
from webapp.pools.models import Worker


@dataclass(frozen=True)
class PoolNow:
    now: datetime
    workers: list[Worker]
    """Without those that were revoked."""
    machines: Mapping[int, Machine]
    """By the worker's id."""
    ordered: list[Waiting]
    held: list[Held]
    """Of all pools."""
    limits: Limits

    @property
    def online(self) -> list[Worker]:
        """Those that could take work."""
        enabled = (worker for worker in self.workers if worker.state == Worker.State.ENABLED)
        return [worker for worker in enabled if is_online(worker.last_seen_at, now=self.now)]

    def machine(self, worker: Worker) -> Machine:
        return self.machines[worker.pk]

    def ahead_of(self, job: Job) -> list[Waiting]:
        return self.ordered[: place_of(job, self.ordered)]


def pool_now(pool: int) -> PoolNow:
    workers = list(Worker.objects.filter(pool=pool).exclude(state=Worker.State.REVOKED).select_related("pool").order_by("name"))
    ordered, held = order_of(pool), held_jobs()
    limited = limited_among(teams={waiting.team for waiting in ordered}, owners={waiting.owner for waiting in ordered})
    return PoolNow(database_now(), workers, machines_of(workers), ordered, held, limited.with_held(held))
