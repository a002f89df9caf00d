"""A run's memory estimate against its measurement: parts for a bar, the measured peak on it, and how far off it is in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.jobs.estimate_record import EstimateRecord, error_of, estimate_record, told_error
from webapp.jobs.memory_words import part_words
from webapp.jobs.models import Job
from webapp.jobs.peaks import allocated_bytes
from worker.contract.vram.parts import OUTSIDE_TORCH

ON_A_CPU = (
    "Not compared: this run is on a CPU. The estimate is made for GPUs, and the resident memory of a process counts its libraries "
    "and file buffers as well."
)
NOT_TOLD = "Not compared: the worker that runs it told no estimate of its plan. Workers of this version do."
NOT_MEASURED = "Not measured yet: the peak is drawn here as soon as the worker tells of its GPU's memory."


@dataclass(frozen=True)
class Part:
    title: str
    size_bytes: int
    percent: float
    """Of the bar's width."""
    place: int
    """Its colour."""
    is_outside: bool
    """What PyTorch's measurement does not count."""


@dataclass(frozen=True)
class MemoryStory:
    parts: tuple[Part, ...]
    estimated: int | None
    measured: int | None
    marker: float | None
    """Where the measured peak stands on the bar, in percent of its width."""
    error: float | None
    is_on_gpu: bool
    is_over: bool
    why_not: str
    """Why nothing is held against each other; empty when it is."""
    record: EstimateRecord | None

    @property
    def verdict(self) -> str:
        return "" if self.error is None else f"The estimate is {told_error(self.error)}{'' if self.is_over else ' so far'}."

    @property
    def tone(self) -> str:
        """Too low by more than 3 % is what may cost a run its memory."""
        if self.error is None:
            return ""
        return "warn" if self.error < -0.03 or self.error > 0.08 else "good"


def memory_story(job: Job) -> MemoryStory | None:
    """None before there is a plan."""
    plan = job.progress.get("plan")
    if not plan:
        return None
    sizes: Mapping[str, int] = plan.get("memory_parts") or {}
    measured, estimated = job.measured_peak_bytes, allocated_bytes(sizes)
    is_on_gpu = bool(measured) or any(name.startswith("cuda_") for name in job.progress.get("memory", {}))
    width = max(sum(sizes.values()), measured or 0) * 1.02
    return MemoryStory(
        parts=tuple(_parts(sizes, width)),
        estimated=estimated,
        measured=measured,
        marker=100 * measured / width if measured and sizes else None,
        error=error_of(estimated, measured) if estimated and measured else None,
        is_on_gpu=is_on_gpu,
        is_over=job.is_ended,
        why_not=_why_not(estimated, measured, is_on_gpu=is_on_gpu),
        record=estimate_record(pool=job.pool_id, base_model=job.base_model_id),
    )


def _why_not(estimated: int | None, measured: int | None, *, is_on_gpu: bool) -> str:
    if not is_on_gpu:
        return ON_A_CPU
    if not estimated:
        return NOT_TOLD
    return "" if measured else NOT_MEASURED


def _parts(sizes: Mapping[str, int], width: float) -> list[Part]:
    """Those that PyTorch counts first, so that their end is what the measured peak is held against."""
    ordered = sorted(((name, size) for name, size in sizes.items() if size), key=lambda part: part[0] in OUTSIDE_TORCH)
    return [
        Part(part_words(name)[0], size, 100 * size / width, place, name in OUTSIDE_TORCH)
        for place, (name, size) in enumerate(ordered, start=1)
    ]
