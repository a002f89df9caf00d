"""Jobs in between: pausing, paused, stopping, waiting for another try, on their second worker."""

from datetime import UTC, datetime, timedelta

from tests.cast import Cast
from tests.stage.telling import CARD, Clock, beginning, big_plan, curve, keep_checkpoint, lose, on_the_card, submit, taken, tell
from tests.stage.things import still_there
from webapp.adapters.services import publish_adapter
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.finish import finish_attempt
from webapp.jobs.models import Attempt, Job
from webapp.jobs.services import cancel_job, pause_job
from webapp.pools.models import Worker
from worker.contract.events import CheckpointRejected, NoticeGiven, PhaseStarted, Replanned, Results, TrainingEnded
from worker.contract.orders import Checkpointed, Finish
from worker.contract.plan import PassPlan


def going(
    cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion, *, name: str, slot: int, done: int
) -> tuple[Attempt, Clock]:
    """A job of Alice's that a worker has come to step `done` with, of 600."""
    began = timedelta(seconds=done * 1.1 + 30)
    job = submit(
        cast.alice,
        worker.pool,
        model,
        version,
        name=name,
        training={"max_steps": 600, "per_device_train_batch_size": 8, "save_steps": 60},
    )
    attempt, clock = taken(job, worker, slot=slot, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device=CARD))
    tell(attempt, [big_plan(600, version, at=clock.now, batch=8), PhaseStarted(phase="training", at=clock.after(0.3))])
    tell(attempt, curve(clock, steps=600, done=done, seconds=1.1, speed=8102, memory=on_the_card))
    return attempt, clock


def pausing(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    attempt, _ = going(cast, worker, model, version, name="night-shift", slot=6, done=84)
    pause_job(attempt.job, by=cast.ada)
    return attempt.job


def paused(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    attempt, clock = going(cast, worker, model, version, name="voice-of-support", slot=2, done=120)
    keep_checkpoint(attempt, 60, at=clock.now - timedelta(seconds=66))
    pause_job(attempt.job, by=cast.ada)
    figures = Results(steps=120, epochs=0.6, final_loss=1.2, train_seconds=132, tokens_seen=900_000, peak_memory_bytes=10**10)
    tell(
        attempt,
        [
            PhaseStarted(phase="saving", at=clock.after(0.4)),
            TrainingEnded(outcome="checkpointed", results=figures, at=clock.after(1.2)),
        ],
    )
    keep_checkpoint(attempt, 120, at=clock.now)
    attempt.refresh_from_db()
    end = Checkpointed(step=120, why="asked")
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end), publish=publish_adapter)
    return attempt.job


def stopping(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    attempt, _ = going(cast, worker, model, version, name="tone-check", slot=7, done=40)
    cancel_job(attempt.job, by=cast.alice, save=True)
    return attempt.job


def lost_once(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    """Waits for its next try."""
    attempt, clock = going(cast, worker, model, version, name="overnight-run", slot=2, done=95)
    keep_checkpoint(attempt, 60, at=clock.now)
    lose(attempt, clock)
    Job.objects.filter(pk=attempt.job_id).update(not_before=datetime.now(UTC) + timedelta(hours=2))
    return attempt.job


def second_try(cast: Cast, first: Worker, second: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    """Lost at step 214, on another worker since, where memory ran out and smaller passes go on."""
    attempt, clock = going(cast, first, model, version, name="product-names", slot=2, done=214)
    keep_checkpoint(attempt, 120, at=clock.now - timedelta(seconds=90))
    keep_checkpoint(attempt, 180, at=clock.now - timedelta(seconds=30))
    lose(attempt, clock)
    Attempt.objects.filter(pk=attempt.pk).update(refused_posts=3)
    began = timedelta(seconds=190)
    again, clock = taken(attempt.job, second, slot=2, began=began), Clock(began=began)
    tell(again, beginning(clock, device=CARD))
    torn = CheckpointRejected(step=180, file="optimizer.pt", reason="The file is shorter than its manifest says", at=clock.after(1))
    tell(
        again,
        [torn, big_plan(600, version, at=clock.now, batch=8, resumed=120), PhaseStarted(phase="training", at=clock.after(0.3))],
    )
    tell(again, curve(clock, steps=600, done=150, seconds=1.1, speed=8050, memory=on_the_card, after=120))
    asked = PassPlan(per_device_train_batch_size=8, gradient_accumulation_steps=1, activation_checkpointing=True)
    smaller = PassPlan(per_device_train_batch_size=4, gradient_accumulation_steps=2, activation_checkpointing=True)
    tell(
        again, [Replanned(before=asked, after=smaller, from_step=120, why="CUDA ran out of memory at step 150", at=clock.after(1))]
    )
    tell(
        again,
        [big_plan(600, version, at=clock.after(20), batch=8, resumed=120), PhaseStarted(phase="training", at=clock.after(0.3))],
    )
    tell(again, [NoticeGiven(text="36 of 4800 rows (0.8 %) are longer than 512 tokens and were cut at the end.", at=clock.now)])
    tell(again, curve(clock, steps=600, done=186, seconds=1.1, speed=7400, memory=on_the_card, after=120))
    keep_checkpoint(again, 180, at=clock.now)
    Attempt.objects.filter(pk=again.pk).update(lease_until=still_there() + timedelta(days=1))
    return again.job


def cancelled_with_checkpoint(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    attempt, clock = going(cast, worker, model, version, name="early-draft", slot=2, done=70)
    keep_checkpoint(attempt, 60, at=clock.now)
    lose(attempt, clock)
    job = attempt.job
    job.refresh_from_db()
    cancel_job(job, by=cast.alice, save=True)
    return job
