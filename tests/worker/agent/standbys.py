"""A real standby, and runs of the tiny model that it is asked for."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import wait_until
from tests.worker.qlora.runs import write_run
from worker.agent.children import Child, small_environment
from worker.agent.forked import ready_standby
from worker.agent.log_lines import LogSink
from worker.agent.standby import Standby
from worker.agent.starting import OFFLINE, start_trainer
from worker.contract.run_directory import RunDirectory

LONG = {"max_steps": 100_000, "save_steps": 100_000}


@dataclass
class Begun:
    """A run with what it printed and how it was started."""

    run: RunDirectory
    child: Child
    lines: list[str]
    how: list[str] = field(default_factory=list)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.child.pid)

    def wait(self, seconds: float = 120) -> int:
        def ended() -> tuple[int] | None:
            os.utime(self.run.alive)
            code = self.child.exit_code(within=0.1)
            return None if code is None else (code,)

        return wait_until(ended, what="the run's end", seconds=seconds)[0]

    def wait_for_step(self, step: int) -> None:
        wait_until(
            lambda: any(line.startswith(f"Step {step}:") for line in self.lines),
            what=f"step {step}",
            seconds=120,
            alive=lambda: self.child.exit_code() is None,
        )


def begin(
    data: Path,
    number: int,
    *,
    model: Path,
    environment: dict[str, str] | None = None,
    quantised: Path | None = None,
    **blocks: Any,
) -> Begun:
    run = write_run(data / "runs" / f"job-{number}-attempt-1", model=model, **blocks)
    run.alive.touch()
    if quantised is not None:
        run.quantised.symlink_to(quantised)
    lines: list[str] = []
    how: list[str] = []
    child = start_trainer(
        run,
        environment=small_environment({**OFFLINE, **(environment or {})}),
        mark=f"{data}#{number}",
        log=LogSink(lambda text, level: lines.append(text)),
        say=how.append,
    )
    return Begun(run, child, lines, how)


def wait_ready(standby: Standby, data: Path, *, other_than: int = 0) -> int:
    """Its process id."""

    def ready() -> int:
        standby.tend()
        found = ready_standby(data)
        return found.pid if found is not None and found.pid != other_than else 0

    return wait_until(ready, what="the standby", seconds=180, every=0.1)


@contextmanager
def running_standby(data: Path) -> Iterator[Standby]:
    data.mkdir(parents=True, exist_ok=True)
    standby = Standby(data)
    try:
        wait_ready(standby, data)
        yield standby
    finally:
        standby.stop()


def hold(folder: str, model: str, *, with_standby: bool) -> None:
    """The whole of an agent in a process of its own: starts a long run, says its number, and waits to be killed."""
    data = Path(folder)
    standby = Standby(data)
    if with_standby:
        data.mkdir(parents=True)
        wait_ready(standby, data)
    begun = begin(data, 77, model=Path(model), training=LONG)
    begun.wait_for_step(1)
    sys.stdout.write(f"{begun.child.pid} {begun.how[0]}\n")
    sys.stdout.flush()
    while True:
        os.utime(begun.run.alive)
        time.sleep(0.5)
