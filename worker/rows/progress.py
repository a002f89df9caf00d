"""How far a task is, written beside its files for whoever waits: at most twice a second, never half."""

import time
from pathlib import Path

from worker.contract.dataset_tasks import Progress

EVERY_SECONDS = 0.5


class Telling:
    """Call it as often as you like."""

    def __init__(self, folder: Path) -> None:
        self._path, self._next = folder / "progress.json", 0.0

    def __call__(self, progress: Progress, *, now: bool = False) -> None:
        """`now`: whatever was told a moment ago, this is told too."""
        if not now and time.monotonic() < self._next:
            return
        part = self._path.with_suffix(".part")
        part.write_text(progress.model_dump_json())
        part.rename(self._path)
        self._next = time.monotonic() + EVERY_SECONDS
