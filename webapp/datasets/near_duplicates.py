"""Rows of a version that are nearly the same: looked for when somebody asks, once, and kept with the version."""

from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from django.db import transaction

from webapp.accounts.models import User
from webapp.datasets.derived import CannotDerive, derive
from webapp.datasets.models import DatasetTask, DatasetVersion, stored_path
from webapp.datasets.processes import Say, report_in, run_in, task_folder
from webapp.datasets.store import staged, store_lock
from webapp.datasets.tasks import start_task
from worker.contract.derived import Clean
from worker.contract.near_duplicates import NEAR_FILE, NearDuplicatesReport, NearDuplicatesTask

NEAR_DUPLICATES = "near_duplicates"
LEAST_SECONDS, ROWS_A_SECOND = 300.0, 1_000  # a tenth of what two quiet cores do
ROWS = "rows"
MOST_LEFT_OUT = 1_000_000  # of a Clean


@dataclass(frozen=True)
class Search:
    """How far the search in a version is. `report` once it is done."""

    task: DatasetTask | None
    report: NearDuplicatesReport | None = None

    @property
    def is_running(self) -> bool:
        return self.task is not None and self.task.state in (DatasetTask.State.WAITING, DatasetTask.State.RUNNING)

    @property
    def problem(self) -> str:
        return self.task.problem if self.task and self.task.state == DatasetTask.State.FAILED else ""


def search_in(version: DatasetVersion) -> Search:
    task = version.tasks.filter(kind=NEAR_DUPLICATES).first()
    done = task.result if task and task.state == DatasetTask.State.DONE else None
    return Search(task, NearDuplicatesReport.model_validate(done["report"]) if done else None)


def start_search(version: DatasetVersion, *, by: User) -> None:
    """Once for a version: its rows never change."""
    start_task(version, kind=NEAR_DUPLICATES, by=by)


def numbers_to_leave_out(version: DatasetVersion) -> list[int]:
    """Of the rows that are like an earlier one; empty where nobody has looked. For a cleaned version."""
    task = version.tasks.filter(kind=NEAR_DUPLICATES, state=DatasetTask.State.DONE).first()
    if task is None or not task.result or not (path := stored_path(task.result["sha256"])).is_file():
        return []
    numbers: list[int] = pq.read_table(path, columns=["number"]).column("number").to_pylist()
    return numbers


def make_version_without(version: DatasetVersion, *, by: User) -> DatasetVersion:
    """A cleaned version that keeps the first row of each group. Raises CannotDerive."""
    numbers = numbers_to_leave_out(version)
    if not numbers:
        raise CannotDerive("No near duplicates were found in this version.")
    return derive([version], Clean(leave_out=tuple(numbers[:MOST_LEFT_OUT])), into=version.dataset, by=by)


def run_search(task: DatasetTask, say: Say) -> dict[str, Any]:
    """The runner. The numbers lie in the store, under the hash that the result names."""
    version = task.version
    with task_folder(NearDuplicatesTask(rows=ROWS)) as folder:
        (folder / ROWS).symlink_to(version.rows_path)
        answer = run_in(folder, seconds=LEAST_SECONDS + version.rows / ROWS_A_SECOND, say=say)
        report = report_in(answer, kind=NearDuplicatesReport)
        with staged(folder / NEAR_FILE) as numbers:
            say(None)
            result = {"report": report.model_dump(mode="json"), "sha256": numbers.sha256}
            with store_lock(), transaction.atomic():  # named before the lock is given back: a delete beside it would take the file
                if DatasetTask.objects.filter(pk=task.pk, runs=task.runs).update(result=result):
                    numbers.settle()
    return result
