"""Jobs as most of them are: running, starting, done, stopped by hand."""

from datetime import timedelta
from typing import Any

from tests.cast import Cast
from tests.stage.telling import Clock, beginning, curve, end_well, on_the_card, on_the_cpu, plan, submit, taken, tell
from tests.stage.things import GIB
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job
from webapp.jobs.services import cancel_job
from webapp.pools.models import Worker
from worker.contract.events import NoticeGiven, PhaseStarted, Results


def running_job(
    cast: Cast,
    worker: Worker,
    model: BaseModel,
    version: DatasetVersion,
    *,
    steps: int,
    done: int,
    user: Any = None,
    name: str = "support-agent-v3",
    slot: int = 0,
) -> Job:
    pace = 1.1 if done < 5000 else 0.2
    began = timedelta(seconds=done * pace + 30)
    job = submit(user or cast.alice, worker.pool, model, version, name=name, lora={"r": 32, "lora_alpha": 64})
    attempt, clock = taken(job, worker, slot=slot, began=began), Clock(began=began)
    device = "NVIDIA H100 80GB HBM3"
    tell(attempt, beginning(clock, device=device))
    tell(
        attempt,
        [plan(steps, at=clock.now, device=device, optim="paged_adamw_32bit", rows=version.rows, batch=16, parameters=8030261248)],
    )
    tell(attempt, [PhaseStarted(phase="training", at=clock.after(0.3))])
    tell(attempt, curve(clock, steps=steps, done=done, seconds=pace, speed=8102, memory=on_the_card))
    return job


def starting_job(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    began = timedelta(seconds=24)
    job = submit(cast.alice, worker.pool, model, version, name="summaries-v1")
    tell(taken(job, worker, slot=1, began=began), beginning(Clock(began=began), device="NVIDIA H100 80GB HBM3"))
    return job


def succeeded_job(cast: Cast, worker: Worker) -> Job:
    began = timedelta(hours=3, seconds=70)
    training = {"max_steps": 24, "per_device_train_batch_size": 4, "max_length": 256}
    job = submit(cast.alice, worker.pool, cast.base_model, cast.version, name="my-first-adapter", training=training)
    attempt, clock = taken(job, worker, slot=0, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device="the CPU"))
    tell(attempt, [NoticeGiven(text="Paged optimizers need a CUDA GPU: adamw_torch runs instead.", at=clock.after(1))])
    tell(attempt, [plan(24, at=clock.now, device="CPU, 2 cores", optim="adamw_torch", rows=8, batch=4, parameters=134515008)])
    tell(attempt, [PhaseStarted(phase="training", at=clock.after(0.2))])
    tell(attempt, curve(clock, steps=24, done=24, seconds=1.9, speed=310, memory=on_the_cpu))
    figures = {
        "final_loss": 0.64,
        "first_loss": 2.52,
        "eval_loss": 0.71,
        "tokens_seen": 14_140,
        "peak_memory_bytes": int(1.68 * GIB),
    }
    results = Results(steps=24, epochs=3, train_seconds=45.6, **figures)
    end_well(attempt, clock, results, outcome="finished")
    return job


def saved_job(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    began = timedelta(hours=26)
    job = submit(cast.bob, worker.pool, model, version, name="tone-of-voice-draft")
    attempt, clock = taken(job, worker, slot=5, began=began), Clock(began=began)
    tell(attempt, beginning(clock, device="NVIDIA H100 80GB HBM3"))
    tell(
        attempt,
        [
            plan(
                600,
                at=clock.now,
                device="NVIDIA H100 80GB HBM3",
                optim="paged_adamw_32bit",
                rows=version.rows,
                batch=16,
                parameters=8030261248,
            )
        ],
    )
    tell(attempt, [PhaseStarted(phase="training", at=clock.after(0.2))])
    tell(attempt, curve(clock, steps=600, done=220, seconds=1.1, speed=7900, memory=on_the_card))
    cancel_job(job, by=cast.bob, save=True)
    figures = {"final_loss": 0.93, "first_loss": 2.6, "tokens_seen": 1_911_800, "peak_memory_bytes": int(22.3 * GIB)}
    results = Results(steps=220, epochs=1.1, train_seconds=242, peak_memory_of="cuda_allocated", **figures)
    end_well(attempt, clock, results, outcome="stopped_saved")
    return job
