"""The queue of a pool in the order in which its jobs are taken, and an administrator's own order."""

from django.db import transaction

from webapp.accounts.models import User
from webapp.accounts.permissions import may_run_pools
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.services import JobRefused
from webapp.pools.models import WorkerPool


def queue_of(pool: WorkerPool) -> list[Job]:
    waiting = Job.objects.filter(pool=pool, status=JobStatus.QUEUED).select_related("owner", "team", "pool")
    return list(waiting.order_by("-priority", "-queue_rank", "queued_at", "pk"))


def move_in_queue(job: Job, *, by: User, position: int) -> None:
    """1 is first. Raises JobRefused."""
    if not may_run_pools(by):
        raise JobRefused("Only administrators change the order of a queue.")
    with transaction.atomic():
        others = [each for each in queue_of(job.pool) if each.pk != job.pk and each.priority == job.priority]
        order = [*others[: position - 1], job, *others[position - 1 :]]
        for place, each in enumerate(order):
            Job.objects.filter(pk=each.pk).update(queue_rank=len(order) - place)
