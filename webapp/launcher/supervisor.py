"""Keeps programs running: starts one again that ended, with growing pauses, and ends all in order, and nothing else."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from webapp.launcher.children import Child, Program, trim
from webapp.launcher.terminal import say

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # before the first, second ... start in a row
STEADY_SECONDS = 60.0  # one that ran so long begins again with the shortest pause
TICK_SECONDS = 0.2
TRIM_EVERY_SECONDS = 60.0


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception, so that no `except Exception` on the way keeps the program alive."""


@dataclass
class Kept:
    """A program that is kept running."""

    program: Program
    child: Child | None
    began: float = field(default_factory=time.monotonic)
    failures: int = 0
    start_at: float = 0.0


class Supervisor:
    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.kept: list[Kept] = []
        self._trimmed = time.monotonic()

    def start(self, program: Program) -> Child:
        child = Child(program, logs=self.logs)
        self.kept.append(Kept(program, child))
        return child

    def watch(self, until: Callable[[], bool], *, seconds: float = float("inf")) -> bool:
        """Watches over the programs until the question is answered with yes. False if that takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                return False
            for kept in self.kept:
                self._look_after(kept)
            self._trim_logs()
            time.sleep(TICK_SECONDS)
        return True

    def _look_after(self, kept: Kept) -> None:
        now = time.monotonic()
        if kept.child is None:
            if now >= kept.start_at:
                kept.child, kept.began = Child(kept.program, logs=self.logs), now
        elif kept.child.status is not None:
            kept.failures = 0 if now - kept.began > STEADY_SECONDS else kept.failures
            pause = PAUSES[min(kept.failures, len(PAUSES) - 1)]
            say(f"{kept.program.name} {kept.child.ending()}; it starts again in {pause:g} s. Its log: {kept.child.log}")
            kept.child.end_now()
            kept.child, kept.failures, kept.start_at = None, kept.failures + 1, now + pause

    def _trim_logs(self) -> None:
        if time.monotonic() - self._trimmed > TRIM_EVERY_SECONDS:
            self._trimmed = time.monotonic()
            for kept in self.kept:
                trim(self.logs / f"{kept.program.name}.log")

    def stop(self) -> None:
        """Three rounds: the worker, then the dashboard's programs together, then Redis. A second Ctrl-C does not wait."""
        running = [kept.child for kept in self.kept if kept.child is not None]
        self.kept.clear()
        for rank in (0, 1, 2):
            _end_together([child for child in running if _stop_rank(child.program) == rank])


def _stop_rank(program: Program) -> int:
    return 0 if program.stop_first else 2 if program.stop_last else 1


def _end_together(children: list[Child]) -> None:
    began = time.monotonic()
    for child in children:
        child.ask_to_end()
    try:
        while any(child.status is None and time.monotonic() - began < child.program.stop_seconds for child in children):
            time.sleep(0.05)
    except Stopped:
        say("Ending at once.")
    for child in children:
        child.end_now()


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and a closed terminal raise Stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
