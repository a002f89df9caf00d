"""Jobs that failed, one for each kind of card: memory, divergence, data, and machines that went away."""

from datetime import datetime, timedelta
from itertools import pairwise

from tests.cast import Cast
from tests.stage.telling import (
    CARD,
    Clock,
    beginning,
    big_plan,
    curve,
    ended_at,
    fail,
    keep_checkpoint,
    on_the_card,
    submit,
    taken,
    tell,
)
from tests.stage.things import GIB
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Job
from webapp.pools.models import Worker
from worker.contract.events import LogWritten, MemorySampled, PhaseStarted, Replanned
from worker.contract.plan import PassPlan

TRACE = """Traceback (most recent call last):
  File "trainer.py", line 212, in training_step
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.50 GiB. GPU 0 has a total capacity of 79.11 GiB."""


def out_of_memory(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    """LoRA on long rows: smaller passes were tried one after the other, and the last did not fit either."""
    began = timedelta(hours=1)
    training = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "max_length": 4096, "activation_checkpointing": False}
    job = submit(
        cast.alice,
        worker.pool,
        model,
        version,
        name="long-context-try",
        training=training,
        quantization={"kind": "none"},
        lora={"r": 64},
    )
    attempt, clock = taken(job, worker, slot=2, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device=CARD))
    plans = [
        PassPlan(per_device_train_batch_size=rows, gradient_accumulation_steps=4 // rows, activation_checkpointing=saves)
        for rows, saves in ((4, False), (2, False), (2, True), (1, True))
    ]
    for before, after in pairwise(plans):
        tell(
            attempt,
            [big_plan(3600, version, at=clock.after(2), batch=4), PhaseStarted(phase="trying the longest rows", at=clock.after(1))],
        )
        tell(attempt, (climbing(step, clock.after(1.4)) for step in range(9)))
        why = "CUDA ran out of memory before the first step"
        tell(attempt, [Replanned(before=before, after=after, from_step=0, why=why, at=clock.after(1))])
    tell(
        attempt,
        [big_plan(3600, version, at=clock.after(2), batch=4), PhaseStarted(phase="trying the longest rows", at=clock.after(1))],
    )
    tell(attempt, (climbing(step, clock.after(1.4)) for step in range(9)))
    message = "The GPU ran out of memory even with one row a pass and activation checkpointing: 78.6 GiB of 79.1 GiB were in use."
    fail(attempt, clock, "out_of_memory", message, advice="Use QLoRA instead of LoRA, or cut rows shorter.", error=TRACE)
    ended_at(job.pk, clock.after(0.5))
    return job


def climbing(step: int, at: datetime) -> MemorySampled:
    used = int((17.2 + min(61.4, 0.9 * step**2.05)) * GIB)
    known = {"cuda_allocated_bytes": used, "cuda_reserved_bytes": used, "cuda_peak_bytes": used, "card_used_bytes": used}
    return MemorySampled(step=0, rss_bytes=int(5.2 * GIB), card_total_bytes=int(79.1 * GIB), at=at, **known)


def diverged(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    began = timedelta(hours=5)
    training = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "save_steps": 50}
    job = submit(cast.alice, worker.pool, model, version, name="hot-rate", training=training, optimizer={"learning_rate": 5e-3})
    attempt, clock = taken(job, worker, slot=2, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device=CARD))
    tell(attempt, [big_plan(3600, version, at=clock.now, batch=4), PhaseStarted(phase="training", at=clock.after(0.2))])
    tell(attempt, curve(clock, steps=3600, done=73, seconds=1.1, speed=7600, memory=on_the_card))
    keep_checkpoint(attempt, 50, at=clock.now - timedelta(seconds=25))
    tell(
        attempt,
        [LogWritten(level="warning", text="Gradient norm 418.2 at step 73: more than 100 times the median.", at=clock.after(0.4))],
    )
    message = "Training diverged: the loss was not a finite number at step 74."
    error = "The loss of step 74 is nan. The run stops here; the last checkpoint with finite weights is of step 50."
    fail(attempt, clock, "diverged", message, error=error, step=74, rows=(41, 1207, 2290, 4111))
    ended_at(job.pk, clock.after(0.5))
    return job


def nothing_to_train(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    began = timedelta(hours=7)
    training = {"num_train_epochs": 1, "per_device_train_batch_size": 8, "max_length": 64}
    job = submit(cast.alice, worker.pool, model, version, name="short-rows", training=training)
    attempt, clock = taken(job, worker, slot=2, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device=CARD))
    message = f"None of the {version.rows:,} rows has a trained token left within 64 tokens."
    fail(attempt, clock, "bad_data", message, advice="Raise the max length: the answers begin after it.", rows=(1, 2, 3))
    ended_at(job.pk, clock.after(0.5))
    return job


def poison(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    """Three workers in a row went away at the same step."""
    job = submit(cast.alice, worker.pool, model, version, name="takes-workers-down", lora={"r": 256, "lora_alpha": 512})
    for hours in (9.0, 8.8, 8.6):
        began = timedelta(hours=hours)
        attempt, clock = taken(job, worker, slot=2, began=began), Clock(began=began)
        tell(attempt, beginning(clock, device=CARD))
        tell(attempt, [big_plan(900, version, at=clock.now), PhaseStarted(phase="training", at=clock.after(0.2))])
        tell(attempt, curve(clock, steps=900, done=12, seconds=2.2, speed=5200, memory=on_the_card))
        lose_attempt(attempt, why=f"Worker {worker.name} has not been heard of for 30 s.")
        Attempt.objects.filter(pk=attempt.pk).update(ended_at=clock.after(30))
        Job.objects.filter(pk=job.pk).update(not_before=None)
    ended_at(job.pk, clock.now)
    return job
