"""Runs to be held beside each other: a LoRA/QLoRA pair that has ended, one that runs, and a run that learns preferences."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.cast import Cast
from tests.stage.telling import CARD, PARTS, Clock, beginning, curve, end_well, plan, submit, taken, tell
from tests.stage.things import GIB
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job
from webapp.jobs.pairs import Pair, submit_pair
from webapp.pools.models import Worker
from worker.contract.events import AnyEvent, MemorySampled, MetricsLogged, PhaseStarted, Results
from worker.contract.spec import FinetuneSpec

LORA = {**PARTS, "linear_weights": 14.1, "other_weights": 2.1, "activations": 3.7, "logits": 0.6, "dequantised_layer": 0.0}
QLORA = {**PARTS, "linear_weights": 3.9, "other_weights": 2.1, "activations": 3.3, "logits": 0.6}
STEPS, ROWS = 100, 4


def both(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion, *, name: str) -> Pair:
    training = {"max_steps": STEPS, "per_device_train_batch_size": ROWS, "max_length": 512}
    reference = {"kind": model.source, "name_or_path": model.name_or_path}
    spec = FinetuneSpec.model_validate({"base_model": reference, "training": training, "data": {"eval_share": 0.02}})
    return submit_pair(user=cast.alice, name=name, pool=worker.pool, base_model=model, dataset_version=version, spec=spec)


def a_pair(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> tuple[Job, Job]:
    """With the figures of an A10G: 21.5 GiB and 3.33 rows a second against 10.8 and 2.58."""
    pair = both(cast, worker, model, version, name="support-pair")
    _run(pair.lora, worker, version, seconds=1.2, peak=21.5, parts=LORA, began=timedelta(hours=2), slot=6)
    _run(pair.qlora, worker, version, seconds=1.55, peak=10.8, parts=QLORA, began=timedelta(hours=1, minutes=55), slot=7)
    return pair.jobs


def half_a_pair(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> tuple[Job, Job]:
    """The first has ended, the second is under way."""
    pair = both(cast, worker, model, version, name="summaries-pair")
    _run(pair.lora, worker, version, seconds=1.2, peak=21.6, parts=LORA, began=timedelta(minutes=5), slot=6)
    _run(pair.qlora, worker, version, seconds=1.55, peak=10.9, parts=QLORA, began=timedelta(minutes=2), slot=6, done=61)
    return pair.jobs


def _run(
    job: Job,
    worker: Worker,
    version: DatasetVersion,
    *,
    seconds: float,
    peak: float,
    parts: dict[str, float],
    began: timedelta,
    slot: int,
    done: int = STEPS,
) -> None:
    attempt, clock = taken(job, worker, slot=slot, began=began), Clock(began=began)
    about: dict[str, Any] = {"device": CARD, "optim": "paged_adamw_32bit", "rows": version.rows, "parameters": 6_738_415_616}
    tell(attempt, beginning(clock, device=CARD))
    tell(attempt, [plan(STEPS, at=clock.now, batch=ROWS, parts=parts, **about), PhaseStarted(phase="training", at=clock.now)])
    memory = on_a_card_of(peak)
    tell(attempt, curve(clock, steps=STEPS, done=done, seconds=seconds, speed=ROWS * 190 / seconds, memory=memory))
    if done == STEPS:
        figures = {
            "final_loss": 0.63,
            "first_loss": 2.55,
            "eval_loss": 0.70 + 0.01 * (seconds > 1.3),
            "tokens_seen": STEPS * ROWS * 190,
        }
        epochs = STEPS * ROWS / version.rows
        more: dict[str, Any] = {"peak_memory_bytes": int(peak * GIB), "peak_memory_of": "cuda_allocated", **figures}
        end_well(attempt, clock, Results(steps=STEPS, epochs=epochs, train_seconds=STEPS * seconds, **more), outcome="finished")


def on_a_card_of(peak: float) -> Any:
    """Memory as it is sampled between steps, below its peak."""

    def sampled(step: int, at: datetime) -> MemorySampled:
        allocated = (0.86 + 0.03 * math.sin(step / 5)) * peak * GIB
        return MemorySampled(
            step=step,
            rss_bytes=int(5.2 * GIB),
            cuda_allocated_bytes=int(allocated),
            cuda_reserved_bytes=int(peak * 1.06 * GIB),
            cuda_peak_bytes=int(peak * GIB),
            card_used_bytes=int((peak * 1.06 + 0.8) * GIB),
            card_total_bytes=80 * GIB,
            utilisation_percent=97,
            at=at,
        )

    return sampled


def preference_run(cast: Cast, worker: Worker, model: BaseModel, version: DatasetVersion) -> Job:
    """DPO, half way, with all that TRL tells of it."""
    began = timedelta(minutes=9)
    more = {"objective": {"kind": "dpo", "beta": 0.1}, "lora": {"r": 32, "lora_alpha": 64}, "data": {"eval_share": 0.02}}
    job = submit(cast.alice, worker.pool, model, version, name="kinder-answers", **more)
    attempt, clock = taken(job, worker, slot=5, began=began), Clock(began=began)
    about: dict[str, Any] = {"device": CARD, "optim": "paged_adamw_32bit", "rows": version.rows, "parameters": 8030261248}
    tell(attempt, beginning(clock, device=CARD))
    tell(attempt, [plan(400, at=clock.now, batch=16, **about), PhaseStarted(phase="training", at=clock.now)])
    told = curve(clock, steps=400, done=250, seconds=2.0, speed=6100, memory=on_a_card_of(21.9))
    tell(attempt, _with_measures(told))
    return job


def _with_measures(events: Iterator[AnyEvent]) -> Iterator[AnyEvent]:
    for event in events:
        is_metrics = isinstance(event, MetricsLogged)
        yield event.model_copy(update={"measures": preferences(event)}) if is_metrics else event  # type: ignore[arg-type]


def preferences(event: MetricsLogged) -> dict[str, float]:
    learned = 1 - math.exp(-event.step / 90)
    wave = 0.04 * math.sin(event.step * 1.7)
    chosen, rejected = 0.5 * learned + wave, -1.6 * learned + 2 * wave
    figures = {
        "rewards/accuracies": 0.5 + 0.42 * learned + wave / 2,
        "rewards/margins": chosen - rejected,
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "logps/chosen": -182 + 6 * learned,
        "logps/rejected": -171 - 14 * learned,
    }
    before = "eval_" if event.eval_loss is not None else ""
    return {f"{before}{name}": round(value, 4) for name, value in figures.items()}
