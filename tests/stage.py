"""Rows for looking at pages: jobs in every state, made through the services and the contract, with curves as real runs have them.

Needs a database. Nothing here trains: the numbers are made up, their shapes are those of the contract. tests/staged.py runs it.
"""

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.cast import SHAPE, Cast, meet_the_cast
from webapp.adapters.services import publish_adapter
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.datasets.services import Upload, create_dataset
from webapp.jobs.claims import claim_job
from webapp.jobs.finish import finish_attempt, incoming_folder
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Job, JobEvent
from webapp.jobs.services import cancel_job, submit_job
from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.secrets import token_hash
from worker.contract.events import (
    AnyEvent,
    CheckpointSaved,
    LogWritten,
    MemorySampled,
    MetricsLogged,
    NoticeGiven,
    PhaseStarted,
    PlanMade,
    Results,
    TrainingEnded,
    TrainingFailed,
)
from worker.contract.orders import MAX_BATCH_EVENTS, ArtifactFile, Claim, EventBatch, Failed, Finish, Succeeded
from worker.contract.spec import FinetuneSpec

GIB = 2**30
THINGS = ("the blue lamp", "a set of six cups", "the oak shelf", "my second parcel", "the spare key")
GPU_WORKER_TOKEN = "nbw_stage"
MODULES = tuple(SHAPE["linear_modules"])  # type: ignore[arg-type]
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "trl": "1.16.0", "bitsandbytes": "0.50.0"}
BIG_SHAPE = {**SHAPE, "hidden_size": 4096, "num_hidden_layers": 32, "parameters": 8030261248, "weights_bytes": 16060522496}
FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer.json")


@dataclass(frozen=True)
class Stage:
    cast: Cast
    jobs: dict[str, Job]
    """running, starting, queued, succeeded, failed, saved (stopped by hand with its adapter kept), long (as many steps as asked for)."""
    dataset: DatasetVersion
    broken: DatasetVersion
    """Has problems."""


class Clock:
    """Ticks from one event to the next, so that a made-up run has plausible times and ends now."""

    def __init__(self, *, began: timedelta) -> None:
        self.now = datetime.now(UTC) - began

    def after(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def set_the_stage(*, long_steps: int = 0) -> Stage:
    random.seed(7)
    cast = meet_the_cast()
    model = big_model()
    tickets, broken = dataset(cast, "support-tickets", rows=4_800), dataset(cast, "tickets-of-may", rows=40, bad=3)
    models_in_other_states()
    farm, small = gpu_worker(), cpu_worker(cast)
    jobs = {
        "succeeded": succeeded_job(cast, small),
        "failed": failed_job(cast, farm, model, tickets),
        "saved": saved_job(cast, farm, model, tickets),
        "running": running_job(cast, farm, model, tickets, steps=2000, done=1285),
        "starting": starting_job(cast, farm, model, tickets),
        "other": running_job(cast, farm, model, tickets, steps=600, done=80, user=cast.bob, name="tone-of-voice", slot=3),
    }
    if long_steps:
        jobs["long"] = running_job(cast, farm, model, tickets, steps=long_steps, done=long_steps, name="long-run", slot=4)
    waiting = WorkerPool.objects.create(name="a10-dev", description="Two A10G for quick tries")
    submit(cast.bob, waiting, model, tickets, name="router-probe")
    jobs["queued"] = submit(cast.alice, waiting, model, tickets, name="summaries-v2")
    stored = {name: Job.objects.get(pk=job.pk) for name, job in jobs.items()}
    return Stage(cast, stored, dataset=tickets, broken=broken)


def big_model() -> BaseModel:
    return BaseModel.objects.create(
        name="Llama 3.1 8B Instruct",
        source="hub",
        name_or_path="meta-llama/Llama-3.1-8B-Instruct",
        revision="0e9e39f249a16976918f6564b8830bc894c89659",
        state="ready",
        shape=BIG_SHAPE,
        licence="llama3.1",
    )


def models_in_other_states() -> None:
    about = {"source": "hub", "name_or_path": "mistralai/Mistral-7B-v0.3"}
    BaseModel.objects.create(name="Mistral 7B", state="checking", **about)
    problem = "The folder has no safetensors files. Pickled weights are not loaded: they can run code."
    BaseModel.objects.create(name="Old house model", source="folder", name_or_path="/models/old", state="broken", problem=problem)


def dataset(cast: Cast, name: str, *, rows: int, bad: int = 0) -> DatasetVersion:
    """Written, uploaded and checked as a user's file is."""
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / f"{name}.jsonl"
    lines = [json.dumps({"messages": ticket(number)}) for number in range(rows)] + ['{"messages": []}'] * bad
    path.write_text("\n".join(lines) + "\n")
    return create_dataset(Upload(path, path.name), name=name, owner=cast.alice)


def ticket(number: int) -> list[dict[str, str]]:
    thing, day = THINGS[number % len(THINGS)], 2 + number % 5
    return [
        {"role": "system", "content": "You answer customers of a small shop, kindly and in two sentences."},
        {"role": "user", "content": f"Hello, order {4000 + number}: {thing} has not arrived. What now?"},
        {
            "role": "assistant",
            "content": f"I am sorry about {thing}. It left our house yesterday and reaches you within {day} days.",
        },
    ]


def gpu_worker() -> Worker:
    pool = WorkerPool.objects.create(name="h100-a", description="Eight H100 in one host")
    host = {"cpu_count": 96, "memory_total_bytes": 1024 * GIB, "memory_used_bytes": 310 * GIB, "disk_free_bytes": 2800 * GIB}
    worker = Worker.objects.create(
        pool=pool,
        name="h100-a-01",
        slots=8,
        host=host,
        versions=VERSIONS,
        last_seen_at=still_there(),
        token_hash=token_hash(GPU_WORKER_TOKEN),
    )
    for index, used in enumerate((61.6, 8.2, 0.4, 22.1, 54.0, 0.4, 0.4, 0.4)):
        about = {"memory_total_bytes": 80 * GIB, "memory_used_bytes": int(used * GIB), "utilisation_percent": 98 if used > 1 else 0}
        Gpu.objects.create(worker=worker, index=index, uuid=f"GPU-{index}", name="NVIDIA H100 80GB HBM3", **about)
    return worker


def still_there() -> datetime:
    """Nobody sends heartbeats here, and looking at all pages takes minutes: these workers were last heard of in an hour."""
    return datetime.now(UTC) + timedelta(hours=1)


def cpu_worker(cast: Cast) -> Worker:
    cast.worker.host = {"cpu_count": 2, "memory_total_bytes": 8 * GIB, "memory_used_bytes": 3 * GIB, "disk_free_bytes": 60 * GIB}
    cast.worker.last_seen_at, cast.worker.versions = still_there(), VERSIONS
    cast.worker.save()
    return cast.worker


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
    moments = {"created_at": began + timedelta(seconds=14), "queued_at": began + timedelta(seconds=14), "started_at": began}
    Job.objects.filter(pk=job.pk).update(**{name: datetime.now(UTC) - back for name, back in moments.items()})
    JobEvent.objects.filter(job=job).update(at=datetime.now(UTC) - began)
    JobEvent.objects.filter(job=job, cursor=1).update(at=datetime.now(UTC) - began - timedelta(seconds=14))
    return Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)


def tell(attempt: Attempt, events: Iterable[AnyEvent]) -> None:
    told = list(events)
    for start in range(0, len(told), MAX_BATCH_EVENTS):
        attempt.refresh_from_db()
        part = tuple(told[start : start + MAX_BATCH_EVENTS])
        store_batch(attempt, EventBatch(fence=attempt.fence, first_seq=attempt.last_seq + 1, events=part))
    Attempt.objects.filter(pk=attempt.pk).update(lease_until=still_there() + timedelta(days=1))
    if planned := next((event for event in told if isinstance(event, PlanMade)), None):
        JobEvent.objects.filter(job=attempt.job_id, kind="state", data__to="running").update(at=planned.at)


def beginning(clock: Clock, *, device: str) -> Iterator[AnyEvent]:
    yield PhaseStarted(phase="fetching data", at=clock.after(0.4))
    yield LogWritten(text="Dataset fetched: 39,148,144 bytes, sha256 checked.", at=clock.after(1.2))
    yield PhaseStarted(phase="loading base model", detail="4 safetensors files, 15.0 GiB", at=clock.after(0.5))
    yield LogWritten(text="Reading the base model's configuration and 4 weight files.", at=clock.after(0.8))
    yield LogWritten(text=f"Quantising 224 linear layers to NF4 with double quantisation on {device}.", at=clock.after(21))


def plan(steps: int, *, at: datetime, device: str, optim: str, rows: int, batch: int, parameters: int) -> PlanMade:
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
        at=at,
    )


def curve(clock: Clock, *, steps: int, done: int, seconds: float, speed: float, memory: Any) -> Iterator[AnyEvent]:
    for step in range(1, done + 1):
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


def failed_job(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    began = timedelta(hours=1)
    training = {"num_train_epochs": 3, "per_device_train_batch_size": 64, "max_length": 4096, "activation_checkpointing": False}
    job = submit(cast.alice, worker.pool, model, version, name="long-context-try", training=training)
    attempt, clock = taken(job, worker, slot=2, began=began), Clock(began=began)
    device = "NVIDIA H100 80GB HBM3"
    tell(attempt, beginning(clock, device=device))
    tell(
        attempt,
        [plan(2262, at=clock.now, device=device, optim="paged_adamw_32bit", rows=version.rows, batch=64, parameters=8030261248)],
    )
    tell(attempt, [PhaseStarted(phase="training", at=clock.after(0.2))])
    tell(attempt, curve(clock, steps=2262, done=3, seconds=6, speed=5100, memory=on_the_card))
    message = "The GPU ran out of memory at step 4: 79.1 GiB of 80.0 GiB were in use and 3.5 GiB more were asked for."
    advice = "Lower rows a pass from 64 to 16 and raise passes a step to 4, or switch on activation checkpointing; the result stays the same."
    tell(
        attempt,
        [
            LogWritten(
                level="error", text="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.50 GiB.", at=clock.after(1)
            )
        ],
    )
    tell(attempt, [TrainingFailed(cause="out_of_memory", message=message, advice=advice, at=clock.after(0.1))])
    attempt.refresh_from_db()
    end = Failed(cause="out_of_memory", message=message, advice=advice, exit_code=1)
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end), publish=publish_adapter)
    ended_at(job.pk, clock.after(0.5))
    return job


def ended_at(job_id: int, moment: datetime) -> None:
    """The end is stamped by the database's clock; a run that ended hours ago was stamped then."""
    job = Job.objects.get(pk=job_id)
    job.progress["phases"][-1]["ended_at"] = moment.isoformat()
    Job.objects.filter(pk=job_id).update(ended_at=moment, progress=job.progress)
    JobEvent.objects.filter(job=job_id, kind="state", at__gt=moment).update(at=moment)
