"""Short words for what tests do with jobs: submit one, claim it, speak as its worker."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cast import Cast
from webapp.jobs.checkpoints import incoming_checkpoint, keep
from webapp.jobs.claims import claim_job
from webapp.jobs.clock import database_now
from webapp.jobs.door_watch import ONLY_ROW
from webapp.jobs.models import Attempt, Checkpoint, DoorWatch, Job
from webapp.jobs.services import submit_job
from worker.contract import PROTOCOL
from worker.contract.events import AnyEvent, LogWritten, MetricsLogged, PlanMade, Results
from worker.contract.orders import (
    ArtifactFile,
    Checkpointed,
    CheckpointUploaded,
    Claim,
    EventBatch,
    Failed,
    Finish,
    Stopped,
    WorkOrder,
)
from worker.contract.spec import FinetuneSpec

RESULTS = Results(steps=3, epochs=1, final_loss=1.5, first_loss=3.0, train_seconds=6, tokens_seen=900, peak_memory_bytes=10**9)
PLAN = PlanMade(
    max_steps=3,
    epochs=1.0,
    train_rows=8,
    eval_rows=0,
    train_tokens=900,
    trained_tokens=400,
    cut_rows=0,
    effective_batch=4,
    trainable_parameters=10,
    parameters=1000,
    target_modules=("q_proj",),
    mask="the template's own markers",
    device="cpu",
    optim="adamw_torch",
    versions={},
)


def open_door(*, since: timedelta = timedelta(hours=1)) -> None:
    """As web processes leave it that have been up for so long; no web process runs in most tests."""
    now = database_now()
    DoorWatch.objects.update_or_create(pk=ONLY_ROW, defaults={"up_since": now - since, "seen_at": now})


def expire(attempt: Attempt) -> None:
    """Its worker has been silent for more than a lease, and would have been heard."""
    open_door()
    Attempt.objects.filter(pk=attempt.pk).update(lease_until=database_now() - timedelta(seconds=1))


def spec(**training: Any) -> FinetuneSpec:
    reference = {"kind": "example", "name_or_path": "smollm2-135m-instruct"}
    return FinetuneSpec.model_validate({"base_model": reference, "training": {"max_steps": 3, **training}})


def submitted(cast: Cast, *, name: str = "first") -> Job:
    return submit_job(
        user=cast.alice, name=name, pool=cast.pool, base_model=cast.base_model, dataset_version=cast.version, spec=spec()
    )


def claimed(cast: Cast) -> tuple[Job, Attempt]:
    """A job of Alice's in the hands of the cast's worker."""
    job = submitted(cast)
    order = claim(cast)
    assert order is not None
    job.refresh_from_db()
    return job, Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)


def claim(cast: Cast, *, slot: int = 0) -> WorkOrder | None:
    return claim_job(cast.worker, Claim(slot=slot, free_memory_bytes=10**9))


def without_pause(job: Job) -> None:
    """Its retry need not wait: no test has ten seconds."""
    Job.objects.filter(pk=job.pk).update(not_before=None)


def metrics(step: int, *, loss: float = 2.0) -> MetricsLogged:
    return MetricsLogged(step=step, epoch=step / 3, loss=loss, at=datetime.now(UTC))


def log(text: str) -> LogWritten:
    return LogWritten(text=text)


def batch(attempt: Attempt, *events: AnyEvent, first_seq: int = 1) -> EventBatch:
    return EventBatch(fence=attempt.fence, first_seq=first_seq, events=events)


def failed(attempt: Attempt, *, last_seq: int = 0) -> Finish:
    end = Failed(cause="bad_data", message="No row has a trainable token.", advice="Use train_on whole_row.")
    return Finish(fence=attempt.fence, last_seq=last_seq, end=end)


def stopped(attempt: Attempt) -> Finish:
    return Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=Stopped())


def ended(attempt: Attempt, cause: str, *, step: int | None = None) -> Finish:
    """Failed by this cause; `step` is as the worker said."""
    end = Failed.model_validate({"cause": cause, "message": "It ended badly.", "step": step, "exit_code": -9})
    return Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end)


def checkpointed(attempt: Attempt, *, step: int = 0, why: str = "asked") -> Finish:
    end = Checkpointed.model_validate({"step": step, "why": why})
    return Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end)


def claimed_again(cast: Cast, job: Job) -> Attempt:
    """The next attempt of a job that waits, whatever pause it has."""
    Job.objects.filter(pk=job.pk).update(not_before=None)
    order = claim(cast)
    assert order is not None
    assert order.job_id == job.pk
    return Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)


def able_to_pause(cast: Cast) -> None:
    """The cast's worker speaks the newest protocol."""
    cast.worker.protocol = PROTOCOL
    cast.worker.save(update_fields=["protocol"])


CHECKPOINT_BYTES = {"adapter_model.safetensors": b"weights", "optimizer.pt": b"moments", "manifest.json": b"{}"}


def checkpoint_files() -> tuple[ArtifactFile, ...]:
    return tuple(
        ArtifactFile(name=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in CHECKPOINT_BYTES.items()
    )


def kept(attempt: Attempt, *, step: int) -> Checkpoint:
    """A checkpoint that the attempt's worker has sent."""
    folder = incoming_checkpoint(attempt, step=step)
    folder.mkdir(parents=True)
    for name, content in CHECKPOINT_BYTES.items():
        (folder / name).write_bytes(content)
    return keep(attempt, CheckpointUploaded(fence=attempt.fence, step=step, files=checkpoint_files()))
