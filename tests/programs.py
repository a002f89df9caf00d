"""A program of ours in a test: started, frozen, killed and started again, with what it said kept in one file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent


class Program:
    """`answers` says when it is ready; without it, it is ready as soon as it has been started."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        answers: Callable[[], bool] | None = None,
        stop_seconds: float = 20,
        folder: Path = ROOT,
    ) -> None:
        self.name, self.command, self.environment, self.log = name, command, dict(environment), log
        self.stop_seconds, self.folder = stop_seconds, folder
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, f"{self.name} does not run"
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self, **environment: str) -> None:
        """Starts it and waits until it answers; `environment` is laid over its own for good."""
        self.begin(**environment)
        self.wait_ready()

    def begin(self, **environment: str) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self.environment |= environment
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        if self._answers is not None:
            wait_until(self._answers, what=self.name, alive=lambda: self.is_running)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        self._is_frozen = True
        for process in self._thaws_together():
            process.suspend()

    def thaw(self) -> None:
        self._is_frozen = False
        for process in self._thaws_together():
            process.resume()

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an administrator does; an error when it does not end in time."""
        if not self.is_running:
            return self._process.returncode if self._process else 0
        if self._is_frozen:
            self.thaw()
        self.process.terminate()
        try:
            return self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def restart(self) -> None:
        self.stop()
        self.start()

    def say(self) -> None:
        sys.stderr.write(f"\n--- {self.name}\n{self.said[-3000:]}")

    def below(self, *words: str) -> list[psutil.Process]:
        """Processes below it whose command line has all the words."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in found if all(word in command_of(process) for word in words)]

    def _thaws_together(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid)]


def is_over(process: psutil.Process) -> bool:
    """An orphan stays a zombie until this machine's first process gets round to it; it runs no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def environment_with(**ours: str) -> dict[str, str]:
    """This process's environment without settings of an installation, and `ours`."""
    strange = ("NIBBLE_", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DJANGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **ours}
