"""Why is my job queued, and who gets it next? A claim picks a queued job by compare-and-set and opens an attempt."""

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from webapp.jobs.clock import database_now
from webapp.jobs.lifecycle import lose_attempt, move_job
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, HeldSlot, Job, JobStatus
from webapp.pools.models import Worker
from worker.contract.dataset import DatasetRef
from worker.contract.orders import Claim, WorkOrder
from worker.contract.spec import FinetuneSpec

CANDIDATES = 16  # enough that 16 workers who ask at once each find one that nobody else took


def claim_job(worker: Worker, claim: Claim) -> WorkOrder | None:
    """Gives the first queued job of the worker's pool to its slot; None when there is nothing to do or the worker is draining."""
    if worker.state != Worker.State.ENABLED or claim.slot >= worker.slots:
        return None
    _close_what_the_slot_left(worker, claim.slot)
    free = _free_slots(worker, first=claim.slot)
    for job in _queued(worker):
        if len(free) < job.slots:  # a job on several GPUs waits for them on one host; a smaller one behind it may go first
            continue
        slots = free[: job.slots]
        attempt = _open_attempt(job, worker, slots)
        if attempt is not None:
            return _work_order(job, attempt, slots)
    return None


def _free_slots(worker: Worker, *, first: int) -> list[int]:
    """The asking slot, then the others that nobody holds; none if the asking slot itself belongs to an attempt of another."""
    held = set(HeldSlot.objects.filter(worker=worker).values_list("slot", flat=True))
    return [] if first in held else [first, *(slot for slot in range(worker.slots) if slot != first and slot not in held)]


def _queued(worker: Worker) -> list[Job]:
    waiting = Job.objects.filter(pool=worker.pool, status=JobStatus.QUEUED).order_by("-priority", "queued_at", "pk")
    return list(waiting.select_related("dataset_version__dataset", "base_model")[:CANDIDATES])


def _close_what_the_slot_left(worker: Worker, slot: int) -> None:
    """An agent asks only when it runs nothing. So what is still open on its slot died with an earlier process."""
    for attempt in Attempt.objects.filter(worker=worker, slot=slot, status__in=OPEN_ATTEMPT).select_related("worker"):
        why = f"Worker {worker.name} was started afresh and no longer runs attempt {attempt.number}."
        lose_attempt(attempt, why=why)


def _open_attempt(job: Job, worker: Worker, slots: list[int]) -> Attempt | None:
    fence = job.fence + 1
    try:
        with transaction.atomic():
            taken = Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, fence=job.fence).update(fence=fence)
            if not taken:  # someone else was faster
                return None
            attempt = Attempt.objects.create(
                job=job,
                number=job.attempts.count() + 1,
                fence=fence,
                worker=worker,
                slot=slots[0],
                lease_until=database_now() + timedelta(seconds=settings.LEASE_SECONDS),
            )
            HeldSlot.objects.bulk_create(HeldSlot(worker=worker, slot=slot, attempt=attempt) for slot in slots)
            why = f"Claimed by worker {worker.name} of pool {worker.pool.name}, attempt {attempt.number}."
            if not move_job(job, JobStatus.STARTING, why=why, attempt=attempt, progress={}, failure=None):
                raise IntegrityError("the job left the queue")
            return attempt
    except IntegrityError:  # a slot or the job has an open attempt already: the constraint decides
        return None


def _work_order(job: Job, attempt: Attempt, slots: list[int]) -> WorkOrder:
    version = job.dataset_version
    return WorkOrder(
        attempt_id=attempt.pk,
        attempt_number=attempt.number,
        fence=attempt.fence,
        slots=tuple(slots),
        job_id=job.pk,
        job_name=job.name,
        lease_seconds=settings.LEASE_SECONDS,
        spec=FinetuneSpec.model_validate(job.spec),
        dataset=DatasetRef(
            version_id=version.pk, sha256=version.sha256, size_bytes=version.size_bytes, rows=version.rows, format=version.format
        ),
        dataset_name=str(version),
        hub_token=job.base_model.hub_token or None,
    )
