"""The Run preview beside the New job form: what will run, where, and what blocks it."""

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Any

from django.utils import timezone

from webapp.datasets.models import DatasetVersion
from webapp.jobs.forms import NewJobForm
from webapp.jobs.machines import memory_of
from webapp.jobs.models import HELD_JOB, Job, JobStatus
from webapp.jobs.selectors import ONLINE
from webapp.jobs.spec_text import as_json, as_yaml
from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.pools.policy import slots_of
from worker.contract.spec import FinetuneSpec


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
    memory_bytes: int | None
    """Estimated need of a GPU; None while too little is known."""
    outlook: PoolOutlook | None
    problems: list[Problem]
    yaml: str
    json: str


def preview_of(form: NewJobForm) -> Preview:
    """`form` is bound; it need not be valid."""
    form.is_valid()
    spec, chosen = form.spec, form.cleaned_data
    version, model = chosen.get("dataset_version"), chosen.get("base_model")
    steps, arithmetic = steps_of(spec, version) if spec else (None, "")
    return Preview(
        spec=spec,
        batch_arithmetic=_batch(spec) if spec else "",
        steps=steps,
        steps_arithmetic=arithmetic,
        memory_bytes=memory_of(spec, model=model, version=version) if spec and model and version else None,
        outlook=outlook_of(chosen["pool"]) if chosen.get("pool") else None,
        problems=_problems(form),
        yaml=as_yaml(spec) if spec else "",
        json=as_json(spec) if spec else "",
    )


def _batch(spec: FinetuneSpec) -> str:
    training = spec.training
    return f"{training.per_device_train_batch_size:,} a pass × {counted(training.gradient_accumulation_steps, 'pass', 'passes')} a step"


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def steps_of(spec: FinetuneSpec, version: DatasetVersion | None) -> tuple[int | None, str]:
    """(optimizer steps, how they come about). Steps win over epochs; the trainer may find rows that it cannot use."""
    training = spec.training
    rows = round(version.rows * (1 - spec.data.eval_share)) if version else 0
    if training.max_steps:
        seen = f"{training.max_steps * training.effective_batch / rows:.2g} epochs of {rows:,} rows" if rows else "as given"
        return training.max_steps, seen
    if not rows or not training.num_train_epochs:
        return None, "known once a dataset is chosen"
    steps = max(1, ceil(ceil(rows / training.effective_batch) * training.num_train_epochs))
    return steps, f"{rows:,} rows ÷ {training.effective_batch:,} × {training.num_train_epochs:g} epochs"


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
