"""The Run preview beside the New job form: what will run, where, and what blocks it."""

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Any

from django.utils import timezone

from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.forms import NewJobForm
from webapp.jobs.machines import row_lengths, sft_report
from webapp.jobs.memory_preview import PoolFit, fits_of
from webapp.jobs.models import HELD_JOB, Job, JobStatus
from webapp.jobs.room import Room, rooms_of
from webapp.jobs.spec_text import as_json, as_yaml
from webapp.jobs.throughput import TimeRange, answers_a_row, time_range, tokens_a_row
from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.pools.policy import slots_of
from webapp.pools.selectors import ONLINE
from webapp.tokenization.figures import told_of
from worker.contract.model_shape import ModelShape
from worker.contract.objective import Sft
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.stored import trained_of


@dataclass(frozen=True)
class PoolOutlook:
    """Who would take the job, in words, and whether anybody is there."""

    is_online: bool
    sentence: str
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    path: str
    title: str
    sentence: str


@dataclass(frozen=True)
class Preview:
    spec: FinetuneSpec | None
    batch_arithmetic: str
    steps: int | None
    steps_arithmetic: str
    trained: int | None
    """Parameters; None while nobody has looked at the model."""
    parameters: int | None
    fits: list[PoolFit]
    """The chosen pool first; empty while too little is known."""
    gpus: int | None
    """The most that one machine of the chosen pool has."""
    time: TimeRange | None
    rows_cut: str
    """What the max length does to this dataset, in words; empty where that is not known."""
    outlook: PoolOutlook | None
    problems: list[Problem]
    yaml: str
    json: str

    @property
    def chosen(self) -> PoolFit | None:
        return next((fit for fit in self.fits if fit.is_chosen), None)

    @property
    def trained_share(self) -> str:
        return f"{100 * (self.trained or 0) / (self.parameters or 1):.2g} %"

    @property
    def time_told(self) -> str:
        if self.time is None:
            return "no past run of this model like this here, so nothing to reckon with" if self.steps else ""
        return self.time.told

    @property
    def others(self) -> list[PoolFit]:
        return [fit for fit in self.fits if not fit.is_chosen]


def preview_of(form: NewJobForm) -> Preview:
    """`form` is bound; it need not be valid."""
    form.is_valid()
    spec, chosen = form.spec, form.chosen
    version, model, pool = chosen.get("dataset_version"), chosen.get("base_model"), chosen.get("pool")
    shape = ModelShape.model_validate(model.shape) if model and model.shape else None
    rooms = rooms_of(WorkerPool.objects.order_by("name"))
    steps, arithmetic = steps_of(spec, version, model=model) if spec else (None, "")
    return Preview(
        spec=spec,
        batch_arithmetic=_batch(spec) if spec else "",
        steps=steps,
        steps_arithmetic=arithmetic,
        trained=trained_of(spec, shape, is_one=True).numbers if spec and shape else None,
        parameters=shape.parameters if shape else None,
        fits=_fits(spec, shape, version=version, model=model, rooms=rooms, pool=pool),
        gpus=next((room.gpus for room in rooms if pool and room.pool.pk == pool.pk), None),
        time=time_range(spec, steps=steps, pool=pool, model=model, version=version)
        if spec and pool and model and version
        else None,
        rows_cut=rows_cut(spec, version=version, model=model) if spec and version and model else "",
        outlook=outlook_of(pool) if pool else None,
        problems=_problems(form),
        yaml=as_yaml(spec) if spec else "",
        json=as_json(spec) if spec else "",
    )


def _fits(
    spec: FinetuneSpec | None,
    shape: ModelShape | None,
    *,
    version: DatasetVersion | None,
    model: BaseModel | None,
    rooms: list[Room],
    pool: WorkerPool | None,
) -> list[PoolFit]:
    if spec is None or shape is None:
        return []
    return fits_of(spec, shape, rows=row_lengths(version, model=model, spec=spec) if version else None, rooms=rooms, chosen=pool)


def rows_cut(spec: FinetuneSpec, *, version: DatasetVersion, model: BaseModel) -> str:
    if not isinstance(spec.objective, Sft):
        return ""
    report = sft_report(version, model=model, spec=spec)
    if report is None:
        return "How many rows it cuts is told once the dataset's Statistics have counted this model's tokens."
    told = told_of(report, max_length=spec.training.max_length)
    return f"{told.rows} {told.lost}".strip()


def _batch(spec: FinetuneSpec) -> str:
    training = spec.training
    passes = counted(training.gradient_accumulation_steps, "pass", "passes")
    shared = f", shared out to {spec.plan.num_processes} GPUs" if spec.plan.num_processes > 1 else ""
    return f"{training.per_device_train_batch_size:,} a pass × {passes} a step{shared}"


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def steps_of(spec: FinetuneSpec, version: DatasetVersion | None, *, model: BaseModel | None = None) -> tuple[int | None, str]:
    """(optimizer steps, how they come about). Steps win over epochs; the trainer may find rows that it cannot use."""
    training = spec.training
    rows, called = _rows_of(spec, version, model=model)
    if training.max_steps:
        seen = f"{training.max_steps * training.effective_batch / rows:.2g} epochs of {called}" if rows else "as given"
        return training.max_steps, seen
    if not rows or not training.num_train_epochs:
        return None, "known once a dataset is chosen"
    steps = max(1, ceil(ceil(rows / training.effective_batch) * training.num_train_epochs))
    return steps, f"{called} ÷ {training.effective_batch:,} × {training.num_train_epochs:g} epochs"


def _rows_of(spec: FinetuneSpec, version: DatasetVersion | None, *, model: BaseModel | None) -> tuple[int, str]:
    """(rows of an epoch, in words)"""
    rows = round(version.train_rows * (1 - spec.data.eval_share)) if version else 0
    if version and (answers := answers_a_row(version, objective=spec.objective.kind)) > 1:
        return answers * rows, f"{answers * rows:,} answers of {rows:,} pairs"
    if not (version and model and isinstance(spec.objective, Sft) and spec.objective.packing):
        return rows, f"{rows:,} rows"
    fewest, most, _ = tokens_a_row(version, model=model, spec=spec)
    packed = max(1, ceil(rows * (fewest + most) / 2 / spec.training.max_length))
    return packed, f"about {packed:,} packed rows"


def outlook_of(pool: WorkerPool) -> PoolOutlook:
    workers = Worker.objects.filter(pool=pool, state=Worker.State.ENABLED, last_seen_at__gt=timezone.now() - ONLINE)
    online = list(workers.order_by("name").select_related("pool").prefetch_related("gpus"))
    if not online:
        return PoolOutlook(False, f"No worker of pool {pool.name} is online. The job waits and starts when one comes back.", ())
    jobs = Job.objects.filter(pool=pool)
    ahead, held = jobs.filter(status=JobStatus.QUEUED).count(), jobs.filter(status__in=HELD_JOB).count()
    free = sum(slots_of(worker, gpus=len(worker.gpus.all())) for worker in online) - held - ahead
    there = f"{counted(len(online), 'worker', 'workers')} online"
    waits = "takes it at once" if free > 0 else f"{ahead} queued and {held} running before it"
    return PoolOutlook(True, f"{there}; {waits}.", tuple(_machine(worker) for worker in online))


def _machine(worker: Any) -> str:
    gpus: list[Gpu] = list(worker.gpus.all())
    cards = Counter(gpu.name for gpu in gpus)
    told = ", ".join(f"{number} × {name}" for name, number in cards.items())
    return f"{worker.name}: {told or 'CPU only, slow but the same run'}"


def _problems(form: NewJobForm) -> list[Problem]:
    found = []
    for path, sentences in form.errors.items():
        title = str(form.fields[path].label) if path in form.fields else ""
        found.append(Problem(path, title, " ".join(str(sentence) for sentence in sentences)))
    return found
