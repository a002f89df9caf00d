"""`python -m worker.rows CHECK_DIR` reads CHECK_DIR/dataset.jsonl and writes CHECK_DIR/report.json, whole or not at all."""

import os
import sys
from pathlib import Path

from worker.contract.rows_report import FileRefusal, RowsReport
from worker.rows.checking import check_dataset
from worker.rows.limits import limit_this_process


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (folder := Path(arguments[0])).is_dir():
        sys.stderr.write("Usage: python -m worker.rows CHECK_DIR, a folder with dataset.jsonl in it.\n")
        return 2
    limit_this_process()
    write_report(folder, report=_report_on(folder / "dataset.jsonl"))
    return 0


def _report_on(path: Path) -> RowsReport:
    try:
        return check_dataset(path)
    except FileNotFoundError:
        reason = "There is no dataset.jsonl to check."
    except MemoryError:
        reason = "Checking the file took more than 1 GiB of memory."
    return RowsReport(refusal=FileRefusal(kind="unreadable", reason=reason))


def write_report(folder: Path, *, report: RowsReport) -> None:
    part = folder / "report.json.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(report.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / "report.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
