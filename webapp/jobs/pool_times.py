"""How long a run over a dataset would take in each pool, with the settings that New job begins with and the batch that was chosen."""

from dataclasses import dataclass
from math import ceil

from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.preview import steps_of
from webapp.jobs.services import reference_to
from webapp.jobs.throughput import TimeRange, time_ranges
from webapp.pools.models import WorkerPool
from webapp.tokenization.batching import ChosenBatch
from webapp.tokenization.choosing import Reading
from worker.contract.objective import ACCEPTED_FORMATS, NAMES
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

MOST_A_PASS = 4096  # rows, in the contract


@dataclass(frozen=True)
class PoolTimes:
    manner: str
    """What is learned and trained, in words."""
    measured: list[tuple[WorkerPool, TimeRange]]
    others: list[WorkerPool]
    """In which no such run has ended yet."""


def pool_times(version: DatasetVersion, *, model: BaseModel, reading: Reading, batch: ChosenBatch) -> PoolTimes:
    spec = spec_of(version, model=model, reading=reading, batch=batch)
    steps, _ = steps_of(spec, version, model=model)
    pools = list(WorkerPool.objects.order_by("name"))
    times = list(zip(pools, time_ranges(spec, steps=steps, pools=pools, model=model, version=version), strict=True))
    kind = spec.objective.kind
    return PoolTimes(
        manner=spec.method if kind == "sft" else f"{NAMES[kind]} with {spec.method}",
        measured=[(pool, time) for pool, time in times if time],
        others=[pool for pool, time in times if not time],
    )


def spec_of(version: DatasetVersion, *, model: BaseModel, reading: Reading, batch: ChosenBatch) -> FinetuneSpec:
    """The first objective that learns from such rows; only the product of rows a pass and passes counts for the time."""
    passes = ceil(batch.rows / MOST_A_PASS)
    training = Training(
        per_device_train_batch_size=ceil(batch.rows / passes),
        gradient_accumulation_steps=passes,
        num_train_epochs=batch.epochs,
        max_length=batch.max_length,
    )
    kind = next((kind for kind, formats in ACCEPTED_FORMATS.items() if version.format in formats), "sft")
    blocks = {"objective": {"kind": kind}, "data": reading.chosen, "training": training}
    return FinetuneSpec.model_validate({"base_model": reference_to(model), **blocks})
