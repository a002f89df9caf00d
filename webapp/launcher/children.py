"""One program that ./start runs: in a session of its own, its output in a log, gone when its parent is gone."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PR_SET_PDEATHSIG = 1
MAX_LOG_BYTES = 20 * 2**20


@dataclass(frozen=True)
class Program:
    """What to run, and what the lines in the terminal call it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    stop_seconds: float = 10.0
    """How long it may take to end after SIGTERM."""
    stop_first: bool = False
    """It still needs the others while it ends: a worker posts its last lines."""
    stop_last: bool = False
    """The others still need it while they end: Redis."""


class Child:
    """A running program. Start it from the main thread: its parent's death is that of the thread that made it."""

    def __init__(self, program: Program, *, logs: Path) -> None:
        self.program, self.log = program, logs / f"{program.name}.log"
        logs.mkdir(parents=True, exist_ok=True)
        trim(self.log)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=ROOT,
                preexec_fn=end_with_parent(),  # safe here: the launcher has one thread
            )

    @property
    def status(self) -> int | None:
        """None while it runs, else its exit status (minus the signal's number, if one ended it)."""
        return self.process.poll()

    def ask_to_end(self) -> None:
        if self.status is None:
            self.process.send_signal(signal.SIGTERM)

    def end_now(self) -> None:
        """Whatever is left of its group goes too: pool processes of a worker that was killed."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ending(self) -> str:
        """How it ended, in words."""
        status = self.status or 0
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def end_with_parent() -> Callable[[], None]:
    """For preexec_fn: SIGTERM when ./start dies, however it dies. Nothing is looked up between fork and exec."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return prepare


def trim(log: Path) -> None:
    """Keeps one older log. The writer appends, so it goes on at the new start of the same file."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)
