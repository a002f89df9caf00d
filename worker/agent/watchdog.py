"""Is the trainer still getting on? A heartbeat proves the agent; only its events prove the trainer.

Setup, a step and a checkpoint have limits of their own; a step's grows with the steps that were seen.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from worker.agent.event_lines import read_line
from worker.agent.pace import Pace
from worker.contract.events import MetricsLogged, PhaseStarted, PlanMade

SLOWER = 10.0  # times the median: past that it is no slow step, but none
LONGEST_LOOK = 1.0  # a process that was frozen, or a machine that slept, counts no more than this for one look
LOG = b'"kind": "log"'


class Watchdog:
    """Reads what is appended to the events from now on. `logging_steps`: how many steps pass between two metrics."""

    def __init__(self, events: Path, *, pace: Pace, logging_steps: float = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._pace, self._clock = events, pace, clock
        self._logging_steps = max(1.0, logging_steps)
        self._read = events.stat().st_size
        self._looked = clock()
        self._now = self._heard = self._got_on = 0.0
        self._doing, self._step, self._eval_steps = "setup", 0, 0.0
        self._since_metrics: float | None = None
        self._durations: deque[float] = deque(maxlen=200)

    def stalled(self) -> str:
        """Empty while it gets on; else for how long it has not, in words."""
        looked = self._clock()
        self._now += min(LONGEST_LOOK, looked - self._looked)
        self._looked = looked
        for line in self._new_lines():
            self._hear(line)
        silent, limit = self._silence()
        return f"It made no progress for {_in_words(limit)} while {self._doing_in_words()}" if silent > limit else ""

    def _silence(self) -> tuple[float, float]:
        if self._doing == "setup":
            return self._now - self._heard, self._pace.setup_seconds
        if self._doing == "saving":
            return self._now - self._got_on, self._pace.saving_seconds
        if self._doing == "evaluating":
            return self._now - self._heard, max(self._pace.setup_seconds, SLOWER * self._median() * self._eval_steps)
        if not self._durations:
            return self._now - self._heard, max(self._pace.setup_seconds, self._pace.step_seconds) * self._logging_steps
        return self._now - self._got_on, max(self._pace.step_seconds, SLOWER * self._median() * self._logging_steps)

    def _median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self._durations) if self._durations else 0.0

    def _hear(self, line: bytes) -> None:
        self._heard = self._now
        if LOG in line:
            return
        event = read_line(line)
        if isinstance(event, PhaseStarted):
            self._doing, self._got_on, self._since_metrics = _doing(event.phase), self._now, self._now
        elif isinstance(event, PlanMade):
            self._eval_steps = event.eval_rows / event.effective_batch
        elif isinstance(event, MetricsLogged) and event.step > self._step:
            self._step_ended(event.step)

    def _step_ended(self, step: int) -> None:
        if self._since_metrics is not None and self._step:
            self._durations.append((self._now - self._since_metrics) / (step - self._step))
        self._step, self._got_on, self._since_metrics = step, self._now, self._now

    def _new_lines(self) -> list[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._read += sum(map(len, lines))
        return lines

    def _doing_in_words(self) -> str:
        words = {"setup": "starting", "saving": "saving", "evaluating": "evaluating"}
        return words.get(self._doing, f"training step {self._step + 1}")


def _doing(phase: str) -> str:
    first = phase.lower().split()[0]
    return {"training": "training", "saving": "saving", "evaluating": "evaluating"}.get(first, "setup")


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"
