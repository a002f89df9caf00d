"""What the trainer shall do now: the dashboard's order, else this machine's own reason to pause (draining, or cut off for too long)."""

import time
from pathlib import Path
from typing import Literal

from worker.agent.draining import draining_until
from worker.agent.reporter import Reporter, Wish

Why = Literal["asked", "draining", "offline"]
AWAY_WHILE_DRAINING = 5.0  # the dashboard that stops together with this machine is not waited for


class Wishes:
    def __init__(self, reporter: Reporter, *, data: Path, offline_limit_seconds: float) -> None:
        self._reporter, self._data, self._offline_limit = reporter, data, offline_limit_seconds
        self._own: Why | None = None

    @property
    def word(self) -> Wish:
        """An own reason stays once it is there: the trainer may have read of it already."""
        self._own = self._own or self._own_reason()
        if self._reporter.wish != "continue":
            return self._reporter.wish
        return "pause" if self._own else "continue"

    @property
    def why(self) -> Why:
        """A pause that the dashboard asked for wins: the user's wish decides what becomes of the job."""
        return "asked" if self._reporter.wish == "pause" else self._own or "asked"

    @property
    def until(self) -> float:
        """When this machine goes away, by time.monotonic()."""
        until = draining_until(self._data)
        return float("inf") if until is None else until

    @property
    def is_lost(self) -> bool:
        return self._reporter.is_lost

    @property
    def is_discarding(self) -> bool:
        return self._reporter.is_lost or self._reporter.wish == "stop_and_discard"

    @property
    def is_draining(self) -> bool:
        return self.until != float("inf")

    @property
    def is_time_to_leave(self) -> bool:
        """The machine goes away now, or it is about to and the dashboard is away, too."""
        return self.is_draining and (time.monotonic() > self.until or self._reporter.away_seconds > AWAY_WHILE_DRAINING)

    def _own_reason(self) -> Why | None:
        if draining_until(self._data) is not None:
            return "draining"
        return "offline" if self._reporter.away_seconds > self._offline_limit else None
