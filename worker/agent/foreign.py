"""GPUs shared with strangers: memory in use while none of this worker's trainers runs there is somebody else's.

The supervisor measures and remembers it in a file; the slots read that before they ask for work.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.contract.orders import GpuReport

FILE = "foreign.json"
OWN_BYTES = 2**30  # a driver, a display and dead contexts hold a few hundred MB
OWN_SHARE = 0.05
SETTLE_SECONDS = 5.0  # after an own trainer ended: the driver frees its memory a moment later


def threshold(gpu: GpuReport) -> float:
    return max(OWN_BYTES, OWN_SHARE * gpu.memory_total_bytes)


class ForeignMemory:
    def __init__(self, data: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._data, self._clock = data, clock
        self._known: dict[str, int] = read(data)
        self._own_until: dict[str, float] = {}

    def look(self, gpus: tuple[GpuReport, ...]) -> tuple[GpuReport, ...]:
        """The reports with what strangers hold. A GPU that an own trainer uses keeps what was seen before."""
        own, now = gpus_in_use(self._data), self._clock()  # looked at after the measurement: what is free now was free then
        self._own_until |= dict.fromkeys(own, now + SETTLE_SECONDS)
        known = {gpu.uuid: self._held_by_strangers(gpu, now) for gpu in gpus}
        if known != self._known:
            write(self._data, known)
            self._known = known
        return tuple(gpu.model_copy(update={"foreign_used_bytes": known[gpu.uuid]}) for gpu in gpus)

    def _held_by_strangers(self, gpu: GpuReport, now: float) -> int:
        if now < self._own_until.get(gpu.uuid, 0.0):
            return self._known.get(gpu.uuid, 0)
        return gpu.memory_used_bytes if gpu.memory_used_bytes > threshold(gpu) else 0


def is_taken(gpu: GpuReport, *, data: Path) -> bool:
    """By strangers, as remembered, and still now: they may have left since."""
    return bool(read(data).get(gpu.uuid)) and gpu.memory_used_bytes > threshold(gpu)


@contextmanager
def uses_gpus(data: Path, slot: int, gpus: tuple[str, ...]) -> Iterator[None]:
    """Tells the supervisor whose memory that is. A slot that was killed is forgotten by forget_use."""
    path = _use_file(data, slot)
    if gpus:
        path.write_text("\n".join(gpus))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def forget_use(data: Path, slot: int) -> None:
    _use_file(data, slot).unlink(missing_ok=True)


def gpus_in_use(data: Path) -> set[str]:
    return {gpu for path in (data / "slots").glob("*.gpus") for gpu in _lines(path)}


def read(data: Path) -> dict[str, int]:
    try:
        return {str(uuid): int(held) for uuid, held in json.loads((data / FILE).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write(data: Path, held: dict[str, int]) -> None:
    part = data / f".{FILE}.{os.getpid()}"
    part.write_text(json.dumps(held))
    part.replace(data / FILE)


def _use_file(data: Path, slot: int) -> Path:
    return data / "slots" / f"{slot}.gpus"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
