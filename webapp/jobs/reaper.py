"""Looks after what nobody rings for: leases that ran out, rings that were lost. One pass is `reap_once`."""

import logging

from django.conf import settings

from webapp.celeryapp import ring_pool
from webapp.jobs.clock import database_now
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, JobStatus
from webapp.pools.models import Worker, WorkerPool

logger = logging.getLogger(__name__)


def reap_once() -> int:
    """Returns the number of attempts marked lost."""
    lost = sum(_lose(attempt) for attempt in expired_attempts())
    for pool in pools_with_work():
        ring_pool(pool.queue)
    return lost


def expired_attempts() -> list[Attempt]:
    late = Attempt.objects.filter(status__in=OPEN_ATTEMPT, lease_until__lt=database_now())
    return list(late.select_related("worker", "job").order_by("lease_until")[:100])


def _lose(attempt: Attempt) -> bool:
    """The WHERE repeats that the lease is over: a batch that arrives in between keeps the attempt alive."""
    why = f"Worker {attempt.worker.name} has not been heard of for {settings.LEASE_SECONDS:g} s."
    lost = lose_attempt(attempt, why=why, lease_until__lt=database_now())
    if lost:
        logger.warning("Job %s: %s", attempt.job_id, why)
    return lost


def pools_with_work() -> list[WorkerPool]:
    """Queued jobs and somebody enabled who could take one."""
    waiting = WorkerPool.objects.filter(jobs__status=JobStatus.QUEUED, workers__state=Worker.State.ENABLED)
    return list(waiting.distinct())
