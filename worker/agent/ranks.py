"""The processes of one run as if they were one: they start together, hear the same words, and when one ends badly all end."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from worker.agent.event_lines import close_last_line, last_of
from worker.contract.events import TrainingEnded, TrainingFailed, append_event
from worker.contract.run_directory import EXIT_PEER_LOST, RunDirectory

logger = logging.getLogger(__name__)
GRACE_SECONDS = 5.0  # for the others to say what they know, once one has ended badly
LAST_SECONDS = 30.0  # for the others to end, once the first has ended in order
LOOK_SECONDS = 0.1
SENTENCE_CHARS = 2000


class Process(Protocol):
    """As children.Child."""

    @property
    def pid(self) -> int: ...
    def exit_code(self, *, within: float = 0.0) -> int | None: ...
    def terminate(self) -> None: ...
    def dump_stacks(self) -> None: ...
    def close(self) -> None: ...


class Ranks:
    """Process 0 tells and saves; its end in order is the run's. Each of the others tells only why it failed, in a file of its own."""

    def __init__(self, start: Callable[[int], Process], *, count: int, run: RunDirectory) -> None:
        self._run, self._said_before = run, run.events.stat().st_size
        for rank in range(1, count):
            run.failure_of(rank).unlink(missing_ok=True)
        self._processes: list[Process] = []
        self._codes: dict[int, int] = {}
        """In the order in which they ended."""
        self._until = float("inf")
        try:
            for rank in range(count):
                self._processes.append(start(rank))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._processes[0].pid

    @property
    def who(self) -> str:
        """Whose exit code is the run's."""
        return f"Process {self._culprit() + 1} of the {len(self._processes)} of the trainer" if self._is_several else "The trainer"

    @property
    def _is_several(self) -> bool:
        return len(self._processes) > 1

    def exit_code(self, *, within: float = 0.0) -> int | None:
        """None while the run goes on. The culprit's where one ended badly."""
        deadline = time.monotonic() + within
        while not self._look() and (left := deadline - time.monotonic()) > 0:
            running = next(process for rank, process in enumerate(self._processes) if rank not in self._codes)
            running.exit_code(within=min(left, LOOK_SECONDS))
        return self._codes[self._culprit()] if self._look() else None

    def _look(self) -> bool:
        """Whether the run has ended: all its processes, or those that decide."""
        for rank, process in enumerate(self._processes):
            if rank not in self._codes and (code := process.exit_code()) is not None:
                self._ended(rank, code)
        return len(self._codes) == len(self._processes) or time.monotonic() >= self._until

    def _ended(self, rank: int, code: int) -> None:
        self._codes[rank] = code
        if code or rank == 0:
            self._until = min(self._until, time.monotonic() + (GRACE_SECONDS if code else LAST_SECONDS))
        if code and self._is_several:
            logger.info("Process %s of %s ended with %s; the others end too.", rank + 1, len(self._processes), code)

    def _culprit(self) -> int:
        """The first that ended badly by itself; else the first that ended badly at all; else process 0."""
        bad = [rank for rank, code in self._codes.items() if code]
        return next((rank for rank in bad if self._codes[rank] != EXIT_PEER_LOST), bad[0] if bad else 0)

    def terminate(self) -> None:
        self._each(lambda process: process.terminate())

    def dump_stacks(self) -> None:
        self._each(lambda process: process.dump_stacks())

    def close(self) -> None:
        """Ends what is left, and lets the run's events tell whose failure it was."""
        self._each(lambda process: process.close())
        if self._is_several:
            self._pass_on()

    def _each(self, act: Callable[[Process], None]) -> None:
        for process in self._processes:
            act(process)

    def _pass_on(self) -> None:
        """Where the first process said nothing: the earliest failure that another one wrote down."""
        close_last_line(self._run.events)
        if last_of(self._run.events, TrainingEnded, TrainingFailed, after=self._said_before) is not None:
            return
        said = [(failure, rank) for rank in range(1, len(self._processes)) if (failure := self._failure_of(rank)) is not None]
        if said:
            failure, rank = min(said, key=lambda found: found[0].at)
            message = f"Process {rank + 1} of {len(self._processes)}: {failure.message}"[:SENTENCE_CHARS]
            append_event(self._run.events, failure.model_copy(update={"message": message}))

    def _failure_of(self, rank: int) -> TrainingFailed | None:
        path = self._run.failure_of(rank)
        found = last_of(path, TrainingFailed) if path.exists() else None
        return found if isinstance(found, TrainingFailed) else None
