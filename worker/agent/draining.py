"""The word to drain: a file in the data folder, which every slot sees at its next look, however it waits for work (Celery or asking).

It holds the moment until which the host goes on, by the clock that all processes of a machine share.
"""

import os
import time
from pathlib import Path

FILE = "draining"


def start_draining(data: Path, *, seconds: float) -> None:
    part = data / f".{FILE}.{os.getpid()}"
    part.write_text(repr(time.monotonic() + seconds))
    part.replace(data / FILE)


def draining_until(data: Path) -> float | None:
    """None: not draining."""
    try:
        return float((data / FILE).read_text())
    except (OSError, ValueError):
        return None


def is_draining(data: Path) -> bool:
    return draining_until(data) is not None


def stop_draining(data: Path) -> None:
    """A supervisor that starts clears what a killed one left."""
    (data / FILE).unlink(missing_ok=True)
