"""The memory estimate of the plan that runs and the largest allocation measured under it, as events tell them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worker.contract.events import AnyEvent, MemorySampled, PlanMade, TrainingEnded
from worker.contract.vram.parts import OUTSIDE_TORCH


@dataclass(frozen=True)
class Peaks:
    """Job.estimated_peak_bytes and Job.measured_peak_bytes."""

    estimated: int | None = None
    measured: int | None = None


def allocated_bytes(parts: Mapping[str, int]) -> int | None:
    """Of worker.contract.vram.MemoryParts: what is held against the measurement. None: no estimate was told."""
    return sum(size for name, size in parts.items() if name not in OUTSIDE_TORCH) or None


def peaks_after(peaks: Peaks, events: Iterable[AnyEvent]) -> Peaks:
    """A plan begins a measurement of its own: what was measured before it belongs to another one."""
    for event in events:
        if isinstance(event, PlanMade):
            peaks = Peaks(estimated=allocated_bytes(event.memory_parts))
        elif measured := _measured(event):
            peaks = Peaks(peaks.estimated, max(measured, peaks.measured or 0))
    return peaks


def _measured(event: AnyEvent) -> int | None:
    """On a GPU only: a CPU's resident memory counts libraries and files too, and is no measurement of the estimate."""
    if isinstance(event, MemorySampled):
        return event.cuda_peak_bytes
    if isinstance(event, TrainingEnded) and event.results.peak_memory_of == "cuda_allocated":
        return event.results.peak_memory_bytes
    return None
