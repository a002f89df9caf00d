"""What differs between two versions: worked out once by the CPU worker, shown with the rows themselves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from webapp.accounts.models import User
from webapp.datasets.arriving import seconds_for
from webapp.datasets.models import DatasetTask, DatasetVersion, stored_path
from webapp.datasets.processes import Say, TaskFailed, report_in, run_in, task_folder
from webapp.datasets.row_turns import Turn, turns_of
from webapp.datasets.stored_rows import rows_numbered
from webapp.datasets.tasks import start_task
from worker.contract.derived import DiffReport, DiffTask, RowChange

DIFF = "diff"
SHOWN = 50
NO_ROWS = "The rows of one of the two versions are not in the data folder any more."


@dataclass(frozen=True)
class ShownRow:
    number: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class ShownChange:
    before: ShownRow | None
    after: ShownRow | None


@dataclass(frozen=True)
class Difference:
    report: DiffReport
    added: tuple[ShownChange, ...]
    removed: tuple[ShownChange, ...]
    changed: tuple[ShownChange, ...]


def begin_difference(before: DatasetVersion, after: DatasetVersion, *, by: User) -> DatasetTask:
    """Once for two rows files, and again where it failed: the task belongs to the later one, its key is the other's."""
    return start_task(after, kind=DIFF, key=before.rows_sha256, by=by)


def difference_task(before: DatasetVersion, after: DatasetVersion) -> DatasetTask | None:
    return after.tasks.filter(kind=DIFF, key=before.rows_sha256).first()


def run_diff(task: DatasetTask, say: Say) -> dict[str, Any]:
    before, after = stored_path(task.key), task.version.rows_path
    if not (before.is_file() and after.is_file()):
        raise TaskFailed(NO_ROWS)
    with task_folder(DiffTask(before="before", after="after")) as folder:
        (folder / "before").symlink_to(before)
        (folder / "after").symlink_to(after)
        seconds = seconds_for(before.stat().st_size + after.stat().st_size)
        return report_in(run_in(folder, seconds=seconds, say=say), kind=DiffReport).model_dump(mode="json")


def difference_of(task: DatasetTask, *, before: DatasetVersion) -> Difference:
    report = DiffReport.model_validate(task.result)
    added, removed, changed = (part[:SHOWN] for part in (report.shown_added, report.shown_removed, report.shown_changed))
    old = _rows(before, (change.before for change in (*removed, *changed)))
    new = _rows(task.version, (change.after for change in (*added, *changed)))

    def shown(changes: tuple[RowChange, ...]) -> tuple[ShownChange, ...]:
        return tuple(ShownChange(old.get(change.before or 0), new.get(change.after or 0)) for change in changes)

    return Difference(report, shown(added), shown(removed), shown(changed))


def _rows(version: DatasetVersion, numbers: Iterable[int | None]) -> dict[int, ShownRow]:
    wanted = [number for number in numbers if number]
    return {number: ShownRow(number, turns_of(row)) for number, row in rows_numbered(version.rows_path, wanted)}
