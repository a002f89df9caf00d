"""`python -m worker.rows TASK_DIR` does what TASK_DIR/task.json says and writes TASK_DIR/report.json, whole or not at all."""

import worker.rows.without_pandas  # noqa: F401, I001  # first of all

import importlib
import os
import sys
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from worker.contract.dataset_tasks import RowsTask
from worker.contract.message import Message
from worker.contract.rows_report import FileRefusal, RowsReport
from worker.rows.errors import FileRefused, ProcessDied
from worker.rows.limits import limit_this_process

DO = {
    "check": "checking.check_files",
    "try_mapping": "trying.try_mapping",
    "near_duplicates": "near_duplicates.find_near_duplicates",
    "transform": "transforms.transform",
    "diff": "diffing.diff",
    "statistics": "statistics.make_statistics",
    "render": "tokenised_view.render_rows",
}
"""By kind of task: a function of this room, (task, folder=) -> report. Only what is asked for is imported: somebody waits for it."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (folder := Path(arguments[0])).is_dir():
        sys.stderr.write("Usage: python -m worker.rows TASK_DIR, a folder with task.json in it.\n")
        return 2
    limit_this_process()
    task: Any = TypeAdapter(RowsTask).validate_json((folder / "task.json").read_bytes())
    write_report(folder, report=_report_on(task, folder=folder))
    return 0


def _report_on(task: Any, *, folder: Path) -> Message:
    try:
        return _do(task, folder=folder)
    except FileNotFoundError as missing:
        reason = f"The file {Path(str(missing.filename)).name} is not there any more."
    except FileRefused as refused:
        return RowsReport(refusal=refused.refusal)
    except MemoryError:
        reason = "Reading the file took more memory than one process may have."
    except ProcessDied as died:
        reason = str(died)
    return RowsReport(refusal=FileRefusal(kind="unreadable", reason=reason))


def _do(task: Any, *, folder: Path) -> Message:
    module, _, function = DO[task.kind].partition(".")
    return cast(Message, getattr(importlib.import_module(f"worker.rows.{module}"), function)(task, folder=folder))


def write_report(folder: Path, *, report: Message) -> None:
    part = folder / "report.json.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(report.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / "report.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
