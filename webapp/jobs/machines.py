"""The workers of a pool as the queue sees them: what they have, and what open attempts hold there."""

from collections import defaultdict
from collections.abc import Collection

from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import HeldSlot, Job
from webapp.pools.fit import Card, Machine, Need
from webapp.pools.models import Gpu, Worker
from webapp.pools.policy import slots_of
from webapp.tokenization.choosing import reading_of
from webapp.tokenization.counting import counted_report
from webapp.tokenization.figures import kept_tokens, longest_in
from worker.contract.model_shape import ModelShape
from worker.contract.objective import Sft
from worker.contract.spec import FinetuneSpec
from worker.contract.token_tasks import StatisticsReport
from worker.contract.vram import RowLengths, estimate_bytes, memory_parts

SHORTEST_ROW = 64  # tokens: a chat template alone takes dozens


def machines_of(workers: Collection[Worker]) -> dict[int, Machine]:
    """By the worker's id; two queries, however many there are. Their pools must be loaded."""
    gpus: defaultdict[int, list[Gpu]] = defaultdict(list)
    for gpu in Gpu.objects.filter(worker__in=workers).order_by("index"):
        gpus[gpu.worker_id].append(gpu)
    held: defaultdict[int, dict[int, int]] = defaultdict(dict)
    rows = HeldSlot.objects.filter(worker__in=workers).values_list("worker_id", "slot", "attempt__memory_bytes")
    for worker, slot, memory in rows:
        held[worker][slot] = memory or 0
    return {worker.pk: _machine(worker, gpus[worker.pk], held[worker.pk]) for worker in workers}


def _machine(worker: Worker, gpus: list[Gpu], held: dict[int, int]) -> Machine:
    """Slots go round the GPUs in the order in which the worker reported them (CUDA_VISIBLE_DEVICES may turn it about)."""
    reported = {gpu["index"]: place for place, gpu in enumerate(worker.host.get("gpus", ()))}
    gpus.sort(key=lambda gpu: reported.get(gpu.index, len(reported)))
    cards = tuple(Card(gpu.index, gpu.memory_total_bytes, gpu.foreign_used_bytes or 0) for gpu in gpus)
    return Machine(slots_of(worker, gpus=len(gpus)), cards, held)


def need_of(job: Job, *, spec: FinetuneSpec | None = None) -> Need:
    """With its spec also what a machine without a GPU is asked for; `base_model` must be loaded then."""
    shape = job.base_model.shape if spec else None
    weights = memory_parts(spec, ModelShape.model_validate(shape)).weights if spec and shape else None
    return Need(job.slots, job.memory_bytes, weights)


def memory_of(spec: FinetuneSpec, *, model: BaseModel, version: DatasetVersion) -> int | None:
    """Job.memory_bytes: what it will need of a GPU; None while nobody has looked at the model."""
    shape = ModelShape.model_validate(model.shape) if model.shape else None
    return estimate_bytes(spec, shape, rows=row_lengths(version, model=model, spec=spec))


def row_lengths(version: DatasetVersion, *, model: BaseModel | None = None, spec: FinetuneSpec | None = None) -> RowLengths | None:
    """In tokens: counted where somebody has, else guessed from the file's size: four average rows, and English text has about
    four bytes a token."""
    counted = sft_report(version, model=model, spec=spec) if model and spec else None
    if counted and spec:
        most = spec.training.max_length
        longest = max(1, min(longest_in(counted.lengths), most))
        return RowLengths(longest, max(1.0, kept_tokens(counted, max_length=most) / counted.rows))
    average = version.size_bytes / version.rows / 3 if version.rows else 0
    return RowLengths(max(SHORTEST_ROW, round(4 * average)), max(SHORTEST_ROW, average)) if average else None


def sft_report(version: DatasetVersion, *, model: BaseModel, spec: FinetuneSpec) -> StatisticsReport | None:
    """The rows' tokens as SFT reads them, where somebody counted; of preferences it is left to the guess."""
    if not isinstance(spec.objective, Sft):
        return None
    report = counted_report(version, model=model, reading=reading_of(spec))
    return report if report and report.rows and report.sequences == 1 else None


def lacks_disk(worker: Worker) -> bool:
    """By its last report; one that never reported may try."""
    free = worker.host.get("disk_free_bytes")
    return free is not None and free < worker.pool.min_free_disk_bytes
