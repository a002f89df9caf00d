"""How a made-up run speaks: claimed, told event by event with plausible times, ended."""

import hashlib
import math
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.cast import SHAPE
from tests.stage.things import GIB, VERSIONS, still_there
from webapp.adapters.services import publish_adapter
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.checkpoints import incoming_checkpoint, keep
from webapp.jobs.claims import claim_job
from webapp.jobs.finish import finish_attempt, incoming_folder
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Checkpoint, Job, JobEvent
from webapp.jobs.services import submit_job
from webapp.pools.models import Worker, WorkerPool
from worker.contract.events import (
    AnyEvent,
    CheckpointSaved,
    LogWritten,
    MemorySampled,
    MetricsLogged,
    PhaseStarted,
    PlanMade,
    Results,
    TrainingEnded,
    TrainingFailed,
)
from worker.contract.orders import (
    MAX_BATCH_EVENTS,
    ArtifactFile,
    CheckpointUploaded,
    Claim,
    EventBatch,
    Failed,
    Finish,
    Succeeded,
)
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.spec import FinetuneSpec

MODULES = tuple(SHAPE["linear_modules"])  # type: ignore[arg-type]
CHECKPOINT_FILES = {
    "adapter_model.safetensors": 168_000,
    "optimizer.pt": 336_000,
    "scheduler.pt": 1_064,
    "rng_state.pth": 14_244,
    "trainer_state.json": 9_310,
    "manifest.json": 1_420,
}
FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json")
CARD = "NVIDIA H100 80GB HBM3"


class Clock:
    """Ticks from one event to the next, so that a made-up run has plausible times and ends now."""

    def __init__(self, *, began: timedelta) -> None:
        self.now = datetime.now(UTC) - began

    def after(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def submit(user: Any, pool: WorkerPool, model: BaseModel, version: DatasetVersion, *, name: str, **spec: Any) -> Job:
    blocks = {"training": {"num_train_epochs": 3, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}, **spec}
    reference = {"kind": model.source, "name_or_path": model.name_or_path}
    full = FinetuneSpec.model_validate({"base_model": reference, **blocks})
    return submit_job(user=user, name=name, pool=pool, base_model=model, dataset_version=version, spec=full)


def taken(job: Job, worker: Worker, *, slot: int, began: timedelta) -> Attempt:
    """Claims the job and moves its past back by `began`."""
    order = claim_job(worker, Claim(slot=slot, free_memory_bytes=80 * GIB))
    assert order is not None
    assert order.job_id == job.pk
    Attempt.objects.filter(pk=order.attempt_id).update(lease_until=still_there() + timedelta(days=1))
    now = datetime.now(UTC)
    Job.objects.filter(pk=job.pk).update(started_at=now - began)
    Attempt.objects.filter(pk=order.attempt_id).update(claimed_at=now - began)
    JobEvent.objects.filter(job=job, attempt=order.attempt_id).update(at=now - began)
    if order.attempt_number == 1:
        queued = now - began - timedelta(seconds=14)
        Job.objects.filter(pk=job.pk).update(created_at=queued, queued_at=queued)
        JobEvent.objects.filter(job=job, cursor=1).update(at=queued)
    return Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)


def tell(attempt: Attempt, events: Iterable[AnyEvent]) -> None:
    told = list(events)
    for start in range(0, len(told), MAX_BATCH_EVENTS):
        attempt.refresh_from_db()
        part = tuple(told[start : start + MAX_BATCH_EVENTS])
        store_batch(attempt, EventBatch(fence=attempt.fence, first_seq=attempt.last_seq + 1, events=part))
    Attempt.objects.filter(pk=attempt.pk).update(lease_until=still_there() + timedelta(days=1))
    if planned := next((event for event in told if isinstance(event, PlanMade)), None):
        JobEvent.objects.filter(attempt=attempt.pk, kind="state", data__to="running").update(at=planned.at)


def beginning(clock: Clock, *, device: str) -> Iterator[AnyEvent]:
    yield PhaseStarted(phase="fetching data", at=clock.after(0.4))
    yield LogWritten(text="Dataset fetched: 39,148,144 bytes, sha256 checked.", at=clock.after(1.2))
    yield PhaseStarted(phase="loading base model", detail="4 safetensors files, 15.0 GiB", at=clock.after(0.5))
    yield LogWritten(text="Reading the base model's configuration and 4 weight files.", at=clock.after(0.8))
    yield LogWritten(text=f"Quantising 224 linear layers to NF4 with double quantisation on {device}.", at=clock.after(21))


PARTS = {
    "linear_weights": 4.0,
    "other_weights": 2.1,
    "adapter": 0.31,
    "gradients": 0.31,
    "optimizer_states": 0.0,
    "paged_states": 0.62,
    "activations": 13.5,
    "logits": 1.5,
    "dequantised_layer": 0.11,
    "slack": 1.1,
    "cuda_context": 0.75,
}
"""GiB that the estimate told of a run on the big cards; on_the_card measures 22.3 of the 21.85 inside PyTorch."""


def in_bytes(parts: dict[str, float]) -> dict[str, int]:
    return {name: int(size * GIB) for name, size in parts.items()}


def plan(
    steps: int,
    *,
    at: datetime,
    device: str,
    optim: str,
    rows: int,
    batch: int,
    parameters: int,
    resumed: int | None = None,
    parts: dict[str, float] | None = None,
) -> PlanMade:
    return PlanMade(
        max_steps=steps,
        epochs=3.0,
        train_rows=rows,
        eval_rows=rows // 50,
        train_tokens=rows * 190,
        trained_tokens=rows * 84,
        cut_rows=rows // 130,
        effective_batch=batch,
        trainable_parameters=parameters // 190,
        parameters=parameters,
        target_modules=MODULES,
        mask="the template's own generation markers",
        device=device,
        optim=optim,
        versions=VERSIONS,
        execution=execution(batch),
        memory_parts=in_bytes(parts or (PARTS if device == CARD else {})),
        resumed_from_step=resumed,
        at=at,
    )


def execution(batch: int) -> ExecutionPlan:
    return ExecutionPlan(
        kind="packed",
        passes=PassPlan(per_device_train_batch_size=batch, gradient_accumulation_steps=1, activation_checkpointing=False),
        reasons=(
            f"{batch} rows end to end in one pass a step; the largest pass has {batch * 256:,} tokens and needs about "
            f"{batch * 1.1:.1f} GB beside the weights; 68.2 GB are free.",
        ),
    )


def curve(clock: Clock, *, steps: int, done: int, seconds: float, speed: float, memory: Any, after: int = 0) -> Iterator[AnyEvent]:
    for step in range(after + 1, done + 1):
        share = step / steps
        clock.after(seconds)
        warm = max(1, round(steps * 0.03))
        rate = 2e-4 * (step / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))
        loss = 0.62 + 1.95 * math.exp(-share * 5.2) + random.gauss(0, 0.045)
        yield MetricsLogged(
            step=step,
            epoch=3 * share,
            loss=round(loss, 4),
            learning_rate=rate,
            grad_norm=round(abs(random.gauss(0.42, 0.08)) + math.exp(-share * 18), 4),
            tokens_per_second=round(speed * random.gauss(1, 0.025), 1),
            tokens_seen=int(step * seconds * speed),
            seconds_left=(steps - step) * seconds,
            at=clock.now,
        )
        if step % max(1, done // 240) == 0:
            yield memory(step, clock.now)
        if step % max(1, steps // 20) == 0:
            yield MetricsLogged(step=step, epoch=3 * share, eval_loss=round(loss + 0.06, 4), at=clock.now)
            yield CheckpointSaved(step=step, size_bytes=84 * 2**20, at=clock.now)
        if step % max(1, done // 400) == 0 or step == done:
            yield LogWritten(text=f"step {step:,} of {steps:,}: loss {loss:.4f}, learning rate {rate:.3g}", at=clock.now)


def on_the_card(step: int, at: datetime) -> MemorySampled:
    allocated = (20.1 + 1.4 * math.sin(step / 37) + random.random() * 0.5) * GIB
    return MemorySampled(
        step=step,
        rss_bytes=int(5.2 * GIB),
        cuda_allocated_bytes=int(allocated),
        cuda_reserved_bytes=int(24.6 * GIB),
        cuda_peak_bytes=int(22.3 * GIB),
        card_used_bytes=int(26.1 * GIB),
        card_total_bytes=80 * GIB,
        utilisation_percent=97,
        at=at,
    )


def on_the_cpu(step: int, at: datetime) -> MemorySampled:
    return MemorySampled(step=step, rss_bytes=int((1.62 + 0.05 * math.sin(step / 3)) * GIB), at=at)


def end_well(attempt: Attempt, clock: Clock, results: Results, *, outcome: Any) -> None:
    tell(
        attempt,
        [PhaseStarted(phase="saving", at=clock.after(0.5)), TrainingEnded(outcome=outcome, results=results, at=clock.after(0.7))],
    )
    folder = incoming_folder(attempt)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in FILES:
        text = name.encode() * 2000
        (folder / name).write_bytes(text)
        files.append(ArtifactFile(name=name, size_bytes=len(text), sha256=hashlib.sha256(text).hexdigest()))
    attempt.refresh_from_db()
    end = Succeeded(outcome=outcome, results=results, files=tuple(files))
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end), publish=publish_adapter)
    ended_at(attempt.job_id, clock.after(0.4))


def big_plan(steps: int, version: DatasetVersion, *, at: datetime, batch: int = 16, resumed: int | None = None) -> PlanMade:
    """Of the 8 B model on the big cards."""
    known: dict[str, Any] = {"device": CARD, "optim": "paged_adamw_32bit", "parameters": 8030261248}
    return plan(steps, at=at, rows=version.rows, batch=batch, resumed=resumed, **known)


def ended_at(job_id: int, moment: datetime) -> None:
    """The end is stamped by the database's clock; a run that ended hours ago was stamped then."""
    job = Job.objects.get(pk=job_id)
    job.progress["phases"][-1]["ended_at"] = moment.isoformat()
    Job.objects.filter(pk=job_id).update(ended_at=moment, progress=job.progress)
    JobEvent.objects.filter(job=job_id, kind="state", at__gt=moment).update(at=moment)


def keep_checkpoint(attempt: Attempt, step: int, *, at: datetime) -> Checkpoint:
    """Sent and kept as a worker's is; its files are small here."""
    folder = incoming_checkpoint(attempt, step=step)
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(_file(folder / name, size=size) for name, size in CHECKPOINT_FILES.items())
    attempt.refresh_from_db()
    kept = keep(attempt, CheckpointUploaded(fence=attempt.fence, step=step, files=files))
    Checkpoint.objects.filter(pk=kept.pk).update(created_at=at)
    JobEvent.objects.filter(job=attempt.job_id, kind="checkpoint_kept", data__step=step).update(at=at)
    return kept


def _file(path: Path, *, size: int) -> ArtifactFile:
    path.write_bytes(path.name.encode().ljust(size, b"."))
    return ArtifactFile(name=path.name, size_bytes=size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def fail(attempt: Attempt, clock: Clock, cause: Any, message: str, *, advice: str = "", error: str = "", **more: Any) -> None:
    """The trainer's last words and the end of the attempt. `error` is what stands in the log."""
    words = [LogWritten(level="error", text=line, at=clock.after(0.2)) for line in error.splitlines()]
    tell(attempt, [*words, TrainingFailed(cause=cause, message=message, advice=advice, at=clock.after(0.1), **more)])
    attempt.refresh_from_db()
    end = Failed(cause=cause, message=message, advice=advice, exit_code=1, **more)
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end), publish=publish_adapter)


def lose(attempt: Attempt, clock: Clock) -> None:
    """Its worker fell silent; the job is not made to wait for its next try."""
    lose_attempt(attempt, why=f"Worker {attempt.worker.name} has not been heard of for 30 s.")
    moment = clock.after(30)
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=moment)
    JobEvent.objects.filter(job=attempt.job_id, at__gt=moment).update(at=moment)
    Job.objects.filter(pk=attempt.job_id).update(not_before=None)
