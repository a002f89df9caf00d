"""`python -m worker.rows TASK_DIR` does what TASK_DIR/task.json says and writes TASK_DIR/report.json, whole or not at all."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from worker.contract.dataset_tasks import RowsTask
from worker.contract.message import Message
from worker.contract.rows_report import FileRefusal, RowsReport
from worker.rows.checking import check_files
from worker.rows.diffing import diff
from worker.rows.errors import FileRefused
from worker.rows.limits import limit_this_process
from worker.rows.near_duplicates import find_near_duplicates
from worker.rows.sharing_out import ProcessDied
from worker.rows.statistics import make_statistics
from worker.rows.tokenised_view import render_rows
from worker.rows.transforms import transform
from worker.rows.trying import try_mapping

DO: dict[str, Callable[..., Message]] = {
    "check": check_files,
    "try_mapping": try_mapping,
    "near_duplicates": find_near_duplicates,
    "transform": transform,
    "diff": diff,
    "statistics": make_statistics,
    "render": render_rows,
}
"""By kind of task: (task, folder=) -> report."""


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
        return DO[task.kind](task, folder=folder)
    except FileNotFoundError as missing:
        reason = f"The file {Path(str(missing.filename)).name} is not there any more."
    except FileRefused as refused:
        return RowsReport(refusal=refused.refusal)
    except MemoryError:
        reason = "Reading the file took more memory than one process may have."
    except ProcessDied as died:
        reason = str(died)
    return RowsReport(refusal=FileRefusal(kind="unreadable", reason=reason))


def write_report(folder: Path, *, report: Message) -> None:
    part = folder / "report.json.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(report.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / "report.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
