"""Looks after what nobody rings for: leases that ran out, rings that were lost, pauses that are over. One pass is `reap_once`.

Two reapers at once are harmless: each step is a compare-and-set or a ring, and a ring too many wakes a worker for nothing.
"""

import logging

from django.conf import settings
from django.db.models import Q

from webapp.celeryapp import ring_pool
from webapp.jobs.clock import database_now
from webapp.jobs.door_watch import has_been_open_for_a_lease
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, Job, JobStatus
from webapp.pools.models import Worker, WorkerPool

logger = logging.getLogger(__name__)


def reap_once() -> int:
    """Returns the number of attempts marked lost. None is while the door has not been open for one whole lease."""
    lost = sum(_lose(attempt) for attempt in expired_attempts()) if has_been_open_for_a_lease() else 0
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
    """Queued jobs that may start now (a retried one waits first) and somebody enabled who could take one."""
    ready = Job.objects.filter(Q(not_before=None) | Q(not_before__lte=database_now()), status=JobStatus.QUEUED)
    enabled = Worker.objects.filter(state=Worker.State.ENABLED)
    return list(WorkerPool.objects.filter(pk__in=ready.values("pool"), workers__in=enabled).distinct())
