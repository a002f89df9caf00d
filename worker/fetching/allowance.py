"""How much may still come: the limit of this installation and the room on the disk, for all files together."""

import shutil
from collections.abc import Callable
from pathlib import Path

from worker.fetching.failures import FetchFailed, size_of

LOOK_EVERY = 64 * 2**20


class Allowance:
    def __init__(
        self, limit_bytes: int, *, folder: Path, keep_free_bytes: int, told: Callable[[int], None] = lambda _: None
    ) -> None:
        self._limit, self._folder, self._keep_free, self._told = limit_bytes, folder, keep_free_bytes, told
        self._taken = self._looked_at = 0

    def announce(self, bytes_: int | None) -> None:
        """What a server says that will come: refused before the first byte of it."""
        if bytes_ is None:
            return
        if self._taken + bytes_ > self._limit:
            raise self._too_large(self._taken + bytes_)
        self._check_room(bytes_)

    def take(self, bytes_: int) -> None:
        self._taken += bytes_
        if self._taken > self._limit:
            raise self._too_large(None)
        if self._taken - self._looked_at > LOOK_EVERY:
            self._looked_at = self._taken
            self._check_room(0)
        self._told(self._taken)

    def give_back(self, bytes_: int) -> None:
        self._taken -= bytes_
        self._looked_at = min(self._looked_at, self._taken)

    def _check_room(self, bytes_: int) -> None:
        if shutil.disk_usage(self._folder).free < bytes_ + self._keep_free:
            raise disk_full()

    def _too_large(self, bytes_: int | None) -> FetchFailed:
        how = f"It has {size_of(bytes_)}, and" if bytes_ else "It goes on past"
        rest = f" up to {size_of(self._limit)} are taken" if bytes_ else f" {size_of(self._limit)}"
        return FetchFailed(
            "too_large",
            f"{how}{rest}, the limit of this installation.",
            fix="Split it, or ask an administrator to raise the limit.",
        )


def disk_full() -> FetchFailed:
    return FetchFailed("disk_full", "The disk of the dashboard has no room for it.", fix="Ask an administrator to free some space.")
