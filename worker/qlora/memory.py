"""What the run holds in memory now, and at most so far: of the card, or of the process on a CPU."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from worker.contract.events import MemorySampled
from worker.qlora.distributed import largest
from worker.qlora.telling import Teller

UNKNOWN = -1  # every process must tell the same number of figures
CARD_SECONDS = 0.5  # between two looks at the card
LOADING_SECONDS = 2.0  # between two samples while there are no steps to go with


def sample_memory(*, step: int) -> MemorySampled:
    rss = psutil.Process().memory_info().rss
    if not torch.cuda.is_available():
        return MemorySampled(step=step, rss_bytes=rss)
    card = look_at_card()
    return MemorySampled(
        step=step,
        rss_bytes=rss,
        cuda_allocated_bytes=torch.cuda.memory_allocated(),
        cuda_reserved_bytes=torch.cuda.memory_reserved(),
        cuda_peak_bytes=torch.cuda.max_memory_allocated(),
        card_used_bytes=card.used,
        card_total_bytes=card.total,
        utilisation_percent=card.utilisation,
    )


@dataclass(frozen=True)
class Card:
    """What the driver says of the whole card, in bytes and percent."""

    used: int
    total: int
    utilisation: int | None
    at: float


_seen: Card | None = None


def look_at_card() -> Card:
    """The driver takes up to 15 ms to answer, so it is asked twice a second at most."""
    global _seen
    now = time.monotonic()
    if _seen is None or now - _seen.at > CARD_SECONDS:
        free, total = torch.cuda.mem_get_info()
        _seen = Card(total - free, total, card_utilisation(), now)
    return _seen


def card_utilisation() -> int | None:
    """None where NVML does not answer (no pynvml, or a card that is split)."""
    try:
        return int(torch.cuda.utilization())
    except Exception:  # NVML's errors share no type with anything
        return None


_loading_peak_bytes = 0


def count_peak_anew() -> None:
    """Once the base model is loaded: what loading took besides is no part of training's peak."""
    global _loading_peak_bytes
    if torch.cuda.is_available():
        _loading_peak_bytes = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()


def loading_in_words() -> str:
    """Empty when training took more, as nearly always: then loading does not decide which GPU a run fits on."""
    if not torch.cuda.is_available() or (trained := torch.cuda.max_memory_allocated()) >= _loading_peak_bytes:
        return ""
    return f"Loading the base model took {_loading_peak_bytes / 1e9:.1f} GB of the GPU at its peak, more than training: {trained / 1e9:.1f} GB."


def peak_memory() -> tuple[int, Literal["cuda_allocated", "rss"]]:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(), "cuda_allocated"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "rss"


@contextmanager
def sampled_while_loading(teller: Teller) -> Iterator[None]:
    """Tells the memory every two seconds, so that the chart rises while the model loads."""
    done = threading.Event()

    def tell_until_done() -> None:
        while not done.wait(LOADING_SECONDS):
            teller.tell(sample_memory(step=0))

    thread = threading.Thread(target=tell_until_done, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        teller.tell(sample_memory(step=0))


def peak_of_all() -> tuple[int, Literal["cuda_allocated", "rss"]]:
    """Of the process that held most. All processes of the run must ask together."""
    peak, of = peak_memory()
    return int(largest(float(peak))[0]), of


def largest_sample(sample: MemorySampled) -> MemorySampled:
    """Of each figure the largest over the processes of the run, which must all ask: the fullest card decides what fits."""
    names = sorted(set(MemorySampled.model_fields) - {"kind", "at", "step"})
    asked = [getattr(sample, name) for name in names]
    told = largest(*(UNKNOWN if value is None else value for value in asked))
    return sample.model_copy(
        update={name: None if value == UNKNOWN else int(value) for name, value in zip(names, told, strict=True)}
    )
