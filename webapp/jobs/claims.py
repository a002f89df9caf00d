"""Who gets a job? A claim picks the first queued job that may go and fits the asking slot, and opens an attempt.

One claim of a pool at a time: on PostgreSQL the pool's row is locked, on SQLite the transaction holds the write lock from its
start. So each sees what the one before it took: shares and limits are exact, and nobody has to try again (docs/decisions/0021).
"""

from collections import defaultdict
from datetime import timedelta
from threading import Lock

from django.conf import settings
from django.db import IntegrityError, transaction
from pydantic import ValidationError

from webapp.jobs.checkpoints import resume_from
from webapp.jobs.clock import database_now
from webapp.jobs.lifecycle import lose_attempt, move_job
from webapp.jobs.machines import lacks_disk
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, HeldSlot, Job, JobStatus
from webapp.jobs.progress import restarted
from webapp.jobs.turns import RESUMES_SINCE, Turn, may_resume, turn_of
from webapp.pools.models import Worker, WorkerPool
from worker.contract import PROTOCOL
from worker.contract.dataset import DatasetRef
from worker.contract.orders import Claim, WorkOrder
from worker.contract.protocols import ROWS_FILES_SINCE
from worker.contract.spec import FinetuneSpec

_turns: defaultdict[int, Lock] = defaultdict(Lock)
"""By pool. Claims of this process line up here; SQLite's own waiters sleep up to 100 ms between tries, and in no order."""


def claim_job(worker: Worker, claim: Claim) -> WorkOrder | None:
    """The job that the slot is to run; None when there is nothing to do for it, or the worker may take nothing."""
    if worker.state != Worker.State.ENABLED or lacks_disk(worker):
        return None
    _close_what_the_slot_left(worker, claim.slot)
    if not Job.objects.filter(pool=worker.pool_id, status=JobStatus.QUEUED).exists():  # idle slots ask often; no lock for them
        return None
    with _turns[worker.pool_id], transaction.atomic():
        WorkerPool.objects.select_for_update(no_key=True).values_list("pk").get(pk=worker.pool_id)
        return _take_first(turn_of(worker, claim, now=database_now()))


def _take_first(turn: Turn) -> WorkOrder | None:
    for job in turn.candidates():
        spec = _spec_of(job)
        slots = turn.slots_for(job, spec=spec) if spec else ()
        resume = resume_from(job) if slots and may_resume(job) and turn.claim.protocol >= RESUMES_SINCE else None
        if spec and slots and (attempt := _open_attempt(job, turn, slots, first_step=resume.step if resume else 0)):
            order = _work_order(job, attempt, spec=spec, slots=slots, turn=turn)
            return order.model_copy(update={"resume": resume})
    return None


def _spec_of(job: Job) -> FinetuneSpec | None:
    """A stored spec that this version cannot read fails its job: it would stand at the head of the queue for ever."""
    try:
        return FinetuneSpec.model_validate(job.spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = f"The stored settings cannot be read any more ({where}: {first['msg']})."
        failure = {"cause": "bad_config", "message": message, "advice": "Clone the job and set what the form asks for."}
        move_job(job, JobStatus.FAILED, why=message, failure=failure, only_from=[JobStatus.QUEUED])
        return None


def _close_what_the_slot_left(worker: Worker, slot: int) -> None:
    """An agent asks only when it runs nothing. So what is still open on its slot died with an earlier process."""
    held = HeldSlot.objects.filter(worker=worker, slot=slot).values_list("attempt_id", flat=True).first()
    left = Attempt.objects.filter(pk=held, slot=slot, status__in=OPEN_ATTEMPT).select_related("worker") if held else ()
    for attempt in left:
        why = f"Worker {worker.name} was started afresh and no longer runs attempt {attempt.number}."
        lose_attempt(attempt, why=why)


def _open_attempt(job: Job, turn: Turn, slots: tuple[int, ...], *, first_step: int) -> Attempt | None:
    """None if the job left the queue in this moment (cancelled, say)."""
    worker, fence = turn.worker, job.fence + 1
    card = turn.card
    try:
        with transaction.atomic():
            if not Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED, fence=job.fence).update(fence=fence):
                return None
            attempt = Attempt.objects.create(
                job=job,
                number=job.attempts.count() + 1 if job.fence else 1,
                fence=fence,
                worker=worker,
                slot=slots[0],
                first_step=first_step,
                lease_until=turn.now + timedelta(seconds=settings.LEASE_SECONDS),
                gpu_index=card.index if card else None,
                memory_bytes=job.memory_bytes if card else None,
            )
            HeldSlot.objects.bulk_create(HeldSlot(worker=worker, slot=slot, attempt=attempt) for slot in slots)
            why = f"Claimed by worker {worker.name} of pool {worker.pool.name}, attempt {attempt.number}."
            if not move_job(job, JobStatus.STARTING, why=why, attempt=attempt, progress=restarted(job.progress), failure=None):
                raise IntegrityError("the job left the queue")
            return attempt
    except IntegrityError:  # a slot or the job has an open attempt already: the constraint decides
        return None


def _work_order(job: Job, attempt: Attempt, *, spec: FinetuneSpec, slots: tuple[int, ...], turn: Turn) -> WorkOrder:
    version = job.dataset_version
    sha256, size_bytes = version.trained if turn.claim.protocol >= ROWS_FILES_SINCE else (version.sha256, version.size_bytes)
    return WorkOrder(
        protocol=min(turn.claim.protocol, PROTOCOL),
        attempt_id=attempt.pk,
        attempt_number=attempt.number,
        fence=attempt.fence,
        slots=slots,
        job_id=job.pk,
        job_name=job.name,
        lease_seconds=settings.LEASE_SECONDS,
        spec=spec,
        dataset=DatasetRef(version_id=version.pk, sha256=sha256, size_bytes=size_bytes, rows=version.rows, format=version.format),
        dataset_name=str(version),
        hub_token=job.base_model.hub_token or None,
    )
