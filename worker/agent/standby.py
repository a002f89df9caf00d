"""The supervisor's standby: one for the host, started when the agent is up, again when it ended or its files changed.

One for all slots, since a fork shares its parent's memory and eight copies of the libraries would not be shared by anybody.
"""

import logging
import signal
import subprocess
import time
from pathlib import Path

from worker.agent.children import CODE_ROOT, module_command, small_environment, tied
from worker.agent.forked import ready_standby, standby_folder
from worker.agent.host import compute_capability
from worker.agent.libraries import signature
from worker.agent.starting import OFFLINE, uses_standby
from worker.contract.standby import MARK, READY

logger = logging.getLogger(__name__)
LOOK_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0
SETTLED_SECONDS = 60.0
ROOM = 512  # characters in its arguments and its environment, for the names of its runs
WHAT = "keeps the trainer's libraries loaded; runs are forked from it"


class Standby:
    def __init__(self, data: Path) -> None:
        self._data, self._folder = data, standby_folder(data)
        self._process: subprocess.Popen[bytes] | None = None
        self._retired: list[subprocess.Popen[bytes]] = []
        self._signature, self._looked = "", 0.0
        self._started, self._not_before, self._pause = 0.0, 0.0, 0.0
        self._is_told = False

    def tend(self) -> None:
        """Called every moment."""
        if not uses_standby():
            return
        self._retired = [process for process in self._retired if process.poll() is None]
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode)
        if self._process is not None and time.monotonic() - self._looked > LOOK_SECONDS:
            self._retire_if_old()
        if self._process is None and time.monotonic() >= self._not_before:
            self._start()
        self._tell_when_ready()

    def stop(self) -> None:
        """At once, and its runs with it."""
        for process in (*self._retired, *([self._process] if self._process is not None else [])):
            process.kill()
            process.wait()
        self._process, self._retired = None, []
        (self._folder / READY).unlink(missing_ok=True)

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / READY).unlink(missing_ok=True)
        self._signature, self._started, self._looked, self._is_told = signature(), time.monotonic(), time.monotonic(), False
        arguments = (str(self._folder), compute_capability(), self._signature, WHAT.ljust(ROOM))
        self._process = subprocess.Popen(
            tied(module_command("worker.qlora.standby", *arguments)),
            cwd=CODE_ROOT,
            env={**small_environment(OFFLINE), MARK: f"{self._data}#standby".ljust(ROOM, "#")},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _tell_when_ready(self) -> None:
        if self._is_told or self._process is None or (ready := ready_standby(self._data)) is None or ready.pid != self._process.pid:
            return
        self._is_told, self._pause = True, 0.0
        size = f"{ready.memory_bytes / 1e6:.0f} MB"
        logger.info(
            "Standby ready after %.1f s: the trainer's libraries are loaded (%s) and jobs start at once.", ready.seconds, size
        )

    def _retire_if_old(self) -> None:
        """Its runs go on; new ones come from the next."""
        self._looked = time.monotonic()
        assert self._process is not None
        if signature() == self._signature:
            return
        logger.info("Files of the trainer changed: another standby takes over.")
        (self._folder / READY).unlink(missing_ok=True)
        self._process.terminate()
        self._retired.append(self._process)
        self._process = None

    def _ended(self, code: int) -> None:
        self._process = None
        (self._folder / READY).unlink(missing_ok=True)
        has_settled = time.monotonic() - self._started > SETTLED_SECONDS
        self._pause = FIRST_PAUSE if has_settled else min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._not_before = time.monotonic() + self._pause
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        logger.warning("The standby ended with %s; it starts again in %g s. Jobs start without it until then.", how, self._pause)
