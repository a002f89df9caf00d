"""Short words for tests of the queue: many jobs of many people, machines with GPUs, claims and their ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cast import Cast
from tests.webapp.jobs.work import spec
from webapp.accounts.models import User
from webapp.jobs.claims import claim_job
from webapp.jobs.lifecycle import move_attempt
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus, Priority
from webapp.pools.models import Gpu, Worker
from worker.contract import PROTOCOL
from worker.contract.orders import Claim, WorkOrder

GIB = 2**30


def queued(cast: Cast, owner: User, *, name: str = "job", ago: float = 10, **fields: Any) -> Job:
    """Without the form's ways: a row that waits since `ago` seconds. Fits everywhere unless `memory_bytes` is given."""
    about: dict[str, Any] = {"priority": Priority.NORMAL, "status": JobStatus.QUEUED, "spec": spec().model_dump(mode="json")}
    about |= {"queued_at": datetime.now(UTC) - timedelta(seconds=ago), "team": owner.team, "pool": cast.pool, **fields}
    return Job.objects.create(name=name, owner=owner, base_model=cast.base_model, dataset_version=cast.version, **about)


def several(cast: Cast, owner: User, count: int, **fields: Any) -> list[Job]:
    return [queued(cast, owner, name=f"{owner.name} {n}", ago=1000 - n / 1000, **fields) for n in range(count)]


def machine(
    cast: Cast, *, name: str, slots: int = 1, gpus: int = 0, gib: float = 80, foreign_gib: float = 0, **fields: Any
) -> Worker:
    about = {"protocol": PROTOCOL, "last_seen_at": datetime.now(UTC) + timedelta(hours=1), **fields}
    worker = Worker.objects.create(pool=cast.pool, name=name, token_hash=name.ljust(64, "-"), slots=slots, **about)
    for index in range(gpus):
        memory = {"memory_total_bytes": int(gib * GIB), "memory_used_bytes": 0, "foreign_used_bytes": int(foreign_gib * GIB)}
        Gpu.objects.create(worker=worker, index=index, uuid=f"{name}-{index}", name="Card", **memory)
    return worker


def asks(worker: Worker, *, slot: int = 0, free_gib: float = 500, protocol: int = PROTOCOL) -> WorkOrder | None:
    """The worker is read anew, as the door does."""
    fresh = Worker.objects.select_related("pool").get(pk=worker.pk)
    index = slot % fresh.gpus.count() if fresh.gpus.exists() else None
    return claim_job(fresh, Claim(slot=slot, free_memory_bytes=int(free_gib * GIB), gpu_index=index, protocol=protocol))


def attempt_of(order: WorkOrder) -> Attempt:
    return Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)


def ends(order: WorkOrder, *, after: float = 0, cause: str = "", to: AttemptStatus = AttemptStatus.SUCCEEDED) -> None:
    """As if it had run for `after` seconds."""
    attempt = attempt_of(order)
    began = datetime.now(UTC) - timedelta(seconds=after)
    Attempt.objects.filter(pk=attempt.pk).update(claimed_at=began)
    attempt.claimed_at = began
    assert move_attempt(attempt, to, cause=cause)
    Job.objects.filter(pk=attempt.job_id).update(status=JobStatus.SUCCEEDED, started_at=began, ended_at=datetime.now(UTC))


def back_in_queue(order: WorkOrder, *, cause: str) -> Job:
    """Its attempt ended because of `cause`, and the job waits again."""
    assert move_attempt(attempt_of(order), AttemptStatus.FAILED, cause=cause)
    Job.objects.filter(pk=order.job_id).update(status=JobStatus.QUEUED, not_before=None)
    return Job.objects.get(pk=order.job_id)


@contextmanager
def patience(settings: Any, seconds: float) -> Iterator[None]:
    before, settings.PATIENCE_SECONDS = settings.PATIENCE_SECONDS, seconds
    yield
    settings.PATIENCE_SECONDS = before
