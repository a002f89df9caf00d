"""Starts `python -m worker.rows` (or another program of its kind) on a task. It reads strangers' files: it has limits and no secrets."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from pydantic import ValidationError

from worker.contract.dataset_tasks import Progress
from worker.contract.message import Message
from worker.contract.rows_report import RowsReport

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
LOOK_SECONDS = 0.1
ROWS = "worker.rows"
TIED = (sys.executable, "-I", "-S", str(Path(settings.BASE_DIR) / "worker" / "dies_with_parent.py"))
"""Followed by our number and a command: it ends when we do, a CPU worker that is killed leaves no reader behind. Run, not imported."""
Report = TypeVar("Report", bound=Message)

Say = Callable[[Progress | None], None]
"""Told now and then how far it is, or None when there is no news: a sign of life. May raise to end it."""


class TaskFailed(Exception):
    """The task has no result; the sentence says why."""


@contextlib.contextmanager
def task_folder(task: Message) -> Iterator[Path]:
    """An empty folder with task.json in it, gone afterwards. On the disk of the datasets: results move by renaming."""
    with tempfile.TemporaryDirectory(prefix="task-", dir=settings.FILE_UPLOAD_TEMP_DIR) as name:
        folder = Path(name)
        (folder / "task.json").write_text(task.model_dump_json())
        yield folder


def run_in(
    folder: Path,
    *,
    seconds: float,
    say: Say = lambda progress: None,
    program: str = ROWS,
    environment: Mapping[str, str] | None = None,
    standard_input: bytes = b"",
) -> bytes:
    """The bytes of report.json. Secrets go in by standard input: no list of processes shows it.

    Raises TaskFailed when the process died, took too long or left no report.
    """
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    errors = folder / "stderr"
    try:
        with errors.open("wb") as stderr, _readable(standard_input) as given:
            process = subprocess.Popen(
                [*TIED, str(os.getpid()), sys.executable, "-m", program, str(folder)],
                cwd=settings.BASE_DIR,
                env={**kept, **(environment or {})},
                stdin=given,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                _wait(process, folder=folder, seconds=seconds, say=say)
            finally:
                _end(process)
        if process.returncode:
            raise TaskFailed(f"The process ended with code {process.returncode}. {_last_line(errors)}".strip())
        return (folder / "report.json").read_bytes()
    except OSError as error:
        raise TaskFailed(f"The process left no report: {type(error).__name__}.") from error


def report_in(answer: bytes, *, kind: type[Report]) -> Report:
    """What a process that could not do its task leaves instead, a refusal, is raised as TaskFailed."""
    try:
        return kind.model_validate_json(answer)
    except ValidationError:
        raise TaskFailed(_reason_in(answer)) from None


def _reason_in(answer: bytes) -> str:
    with contextlib.suppress(ValidationError):
        if refusal := RowsReport.model_validate_json(answer).refusal:
            return refusal.reason
    return "The process left a report that cannot be read. Try it again."


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[int]:
    """A file that lies in memory only and has no name, at its beginning."""
    with os.fdopen(os.memfd_create("input"), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def _wait(process: subprocess.Popen[bytes], *, folder: Path, seconds: float, say: Say) -> None:
    deadline = time.monotonic() + seconds
    told = ""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
            return
        if time.monotonic() > deadline:
            raise TaskFailed(f"It took longer than {seconds:,.0f} seconds and was stopped.")
        news = _progress(folder)
        say(Progress.model_validate_json(news) if news and news != told else None)
        told = news


def _progress(folder: Path) -> str:
    try:
        return (folder / "progress.json").read_text()
    except FileNotFoundError:
        return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """With whatever it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(errors: Path) -> str:
    return errors.read_bytes()[-2000:].decode(errors="replace").strip().rpartition("\n")[2][:300]
