"""Files that have arrived and belong to nobody yet: looked at, hashed, and put beside their later places before anyone waits for a lock."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from webapp.datasets.errors import FileRefused, FileTooLarge, NoRoom
from webapp.datasets.models import DatasetVersion
from webapp.datasets.processes import Say, TaskFailed, run_in, task_folder
from webapp.datasets.reports import unfinished, within_budget
from webapp.datasets.store import Staged, staged
from webapp.templatetags.units import size
from worker.contract.dataset_tasks import PROBLEMS_FILE, ROWS_FILE, CheckTask, SourceFile
from worker.contract.rows_report import RowsReport

CHECKED_AT_ONCE_BYTES = 32 * 2**20  # about a second; larger files are the CPU worker's
AT_ONCE_SECONDS = 60.0
LEAST_SECONDS = 300.0
BYTES_A_SECOND = 5 * 2**20  # a tenth of what two quiet cores do


@dataclass(frozen=True)
class Arrived:
    """`name` is for display. `sha256`: where whoever received the file has hashed it already."""

    path: Path
    name: str
    sha256: str = ""
    split: str = "train"


@dataclass(frozen=True)
class Checked:
    """What a check found; the files are there unless nothing of the sources can be used."""

    report: RowsReport
    rows: Staged | None = None
    problems: Staged | None = None

    def findings(self) -> dict[str, Any]:
        """The version's fields."""
        return {
            "state": self._state(),
            "format": self.report.format or "",
            "rows": self.report.rows,
            "bad_rows": self.report.bad_rows,
            "rows_sha256": self.rows.sha256 if self.rows else "",
            "rows_bytes": self.rows.size_bytes if self.rows else 0,
            "problems_sha256": self.problems.sha256 if self.problems else "",
            "report": within_budget(self.report).model_dump(mode="json"),
        }

    def _state(self) -> DatasetVersion.State:
        if self.report.is_unsure:
            return DatasetVersion.State.UNSURE
        is_clean = self.report.refusal is None and self.report.bad_rows == 0
        return DatasetVersion.State.READY if is_clean else DatasetVersion.State.PROBLEMS

    def settle(self) -> None:
        for file in (self.rows, self.problems):
            if file is not None:
                file.settle()


@dataclass(frozen=True)
class Arrival:
    """Everything of a new version but its row. `checked` is None when the files are too large to be read at once."""

    files: tuple[tuple[Arrived, Staged], ...]
    checked: Checked | None

    def settle(self) -> None:
        for _, file in self.files:
            file.settle()
        if self.checked:
            self.checked.settle()


@contextmanager
def arriving(files: Sequence[Arrived], *, mapping: dict[str, Any] | None = None) -> Iterator[Arrival]:
    """Refuses what can be refused before anything is stored: FileRefused, FileTooLarge, NoRoom."""
    bytes_ = sum(file.path.stat().st_size for file in files)
    if bytes_ > settings.MAX_DATASET_BYTES:
        raise FileTooLarge(limit=size(settings.MAX_DATASET_BYTES))
    with ExitStack() as stack, _full_disk_said():
        checked = None
        if bytes_ <= CHECKED_AT_ONCE_BYTES:
            checked = stack.enter_context(check_files(files, mapping=mapping, seconds=AT_ONCE_SECONDS))
            if checked.report.refusal:
                raise FileRefused(checked.report.refusal)
        held = tuple((file, stack.enter_context(staged(file.path, sha256=file.sha256))) for file in files)
        yield Arrival(held, checked)


@contextmanager
def check_files(
    files: Sequence[Arrived], *, mapping: dict[str, Any] | None = None, seconds: float, say: Say = lambda progress: None
) -> Iterator[Checked]:
    """A reader that died or took too long is a report with a refusal, not an exception."""
    sources = tuple(SourceFile(path=f"source-{place}", name=file.name, split=file.split) for place, file in enumerate(files))
    with task_folder(CheckTask(files=sources, mapping=mapping)) as folder, ExitStack() as stack:
        for file, source in zip(files, sources, strict=True):
            (folder / source.path).symlink_to(file.path)
        try:
            report = RowsReport.model_validate_json(run_in(folder, seconds=seconds, say=say))
        except (TaskFailed, ValueError) as failed:
            yield Checked(unfinished(str(failed)))
            return
        rows, problems = (stack.enter_context(_found(folder / name)) for name in (ROWS_FILE, PROBLEMS_FILE))
        yield Checked(report, rows, problems)


@contextmanager
def _found(path: Path) -> Iterator[Staged | None]:
    if not path.exists():
        yield None
        return
    with staged(path) as file:
        yield file


def seconds_for(bytes_: int) -> float:
    return LEAST_SECONDS + bytes_ / BYTES_A_SECOND


@contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom from None
        raise


def hash_of_hashes(hashes: Sequence[str]) -> str:
    """Of one file its own."""
    import hashlib

    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
