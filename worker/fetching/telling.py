"""Progress and the report: small files, each whole or not there."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from worker.contract.message import Message

LEAST_SECONDS = 0.5


class ProgressFile:
    """TASK_DIR/progress.json, at most twice a second."""

    def __init__(
        self, folder: Path, *, say: Callable[[int, int | None], Message], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._say, self._clock = folder, say, clock
        self._total: int | None = None
        self._told_at = -LEAST_SECONDS

    def expect(self, total: int | None) -> None:
        self._total = total

    def arrived(self, bytes_: int) -> None:
        if self._clock() - self._told_at >= LEAST_SECONDS:
            self._told_at = self._clock()
            write_whole(self._folder / "progress.json", self._say(bytes_, self._total), durably=False)


def write_whole(path: Path, message: Message, *, durably: bool = True) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(message.model_dump_json())
        file.flush()
        if durably:
            os.fsync(file.fileno())
    part.replace(path)
