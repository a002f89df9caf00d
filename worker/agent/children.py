"""Starts a process that dies with us, reads what it prints, and ends it with everything it started."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from worker import dies_with_parent
from worker.agent.log_lines import LogSink
from worker.contract.standby import MARK

logger = logging.getLogger(__name__)
END_SECONDS = 5.0
CODE_ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
PASSED_ON_FROM = (
    "LC_",
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "NVSHMEM_",
    "GLOO_",
    "OMP_",
    "MKL_",
    "TORCH",
    "TRITON_",
    "PYTORCH_",
    "XDG_",
    "NIBBLE_TRAINER",
)


def tied(command: list[str]) -> list[str]:
    """The command, wrapped so that it dies with the calling thread."""
    return [sys.executable, "-I", "-S", dies_with_parent.__file__, str(os.getpid()), *command]


def module_command(module: str, *arguments: str) -> list[str]:
    """-P: a file of the run directory can never shadow a module."""
    return [sys.executable, "-P", "-m", module, *arguments]


def small_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """An allow-list: no token, no broker's address, no cloud key reaches a process that runs a user's job."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_FROM)}
    return {**kept, "PYTHONPATH": code_path(), "PYTHONUNBUFFERED": "1", **extra}


def code_path() -> str:
    """Our code first, then what the machine's owner put there (packages of a host without a network)."""
    named = [str(CODE_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(filter(None, named)))  # once each: a slot has it from its supervisor already


class Child(ABC):
    """`output` is what it prints; `mark` names whose processes these are.

    Whatever carries the mark is ended together, in whatever session it hides.
    """

    def __init__(self, output: int, *, mark: str, log: LogSink) -> None:
        self._output, self._mark, self._log = output, mark, log
        self._reader = threading.Thread(target=self._read, name="child-output", daemon=True)
        self._reader.start()

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def exit_code(self, *, within: float = 0.0) -> int | None:
        """None while it runs; -9 for a process that SIGKILL ended."""

    @abstractmethod
    def _reap(self) -> None:
        """Waits for its end and lets go of it."""

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def dump_stacks(self) -> None:
        """Asks what its threads are doing; a program that does not know how to answer ends."""
        if self.exit_code() is None:
            os.kill(self.pid, signal.SIGUSR1)

    def close(self) -> None:
        """Ends what is left of it and waits for its last lines."""
        self._signal(signal.SIGKILL)
        self._reap()
        end_marked(self._mark)
        self._reader.join(5)
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        """Only while it runs: afterwards its number may belong to someone else."""
        if self.exit_code() is not None:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # a fork that has just begun is not in a group of its own yet
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _read(self) -> None:
        while block := os.read(self._output, 65536):
            try:
                self._log.feed(block)
            except OSError as error:  # read on: a trainer that nobody reads would stand still at a full pipe
                logger.error("A line of output is lost: %s", error)
        os.close(self._output)


class Spawned(Child):
    """A new process in a session of its own."""

    def __init__(self, command: list[str], *, folder: Path, environment: Mapping[str, str], mark: str, log: LogSink) -> None:
        self._process = subprocess.Popen(
            tied(command),
            cwd=folder,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        super().__init__(os.dup(self._process.stdout.fileno()), mark=mark, log=log)
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self, *, within: float = 0.0) -> int | None:
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def _reap(self) -> None:
        self._process.wait()


def end_marked(mark: str) -> int:
    """Kills every process that carries the mark, orphans in sessions of their own too. Returns how many there were."""
    found = [process for process in psutil.process_iter() if _carries(process, mark)]
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline and any(_runs(process) for process in found):
        time.sleep(0.01)
    return len(found)


def _runs(process: psutil.Process) -> bool:
    """What has ended may still wait for its parent to hear of it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):  # gone meanwhile, a zombie, or another user's
        return False
