"""A file's check as the dashboard's worker does it, without the process around it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from worker.contract.dataset_tasks import PROBLEMS_FILE, ROWS_FILE, CheckTask, SourceFile
from worker.contract.rows_report import RowsReport
from worker.rows.checking import check_files


def check_dataset(path: Path) -> RowsReport:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "0").symlink_to(path)
        return check_files(CheckTask(files=(SourceFile(path="0", name=path.name),)), folder=Path(folder))


def jsonl(rows: Sequence[Any]) -> bytes:
    return b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows)


@dataclass(frozen=True)
class Outcome:
    report: RowsReport
    rows: list[dict[str, Any]]
    problems: list[dict[str, Any]]

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [problem for problem in self.problems if problem["kind"] == kind]


def check_rows(folder: Path, rows: Sequence[Any] | Mapping[str, Sequence[Any]], **options: Any) -> Outcome:
    """Rows of one file, or of a file for each split."""
    by_split = rows if isinstance(rows, Mapping) else {"train": rows}
    sources = []
    for split, own in by_split.items():
        (folder / split).write_bytes(jsonl(own))
        sources.append(SourceFile(path=split, name=f"{split}.jsonl", split=split))
    report = check_files(CheckTask(files=tuple(sources), **options), folder=folder)
    return Outcome(report, *(pq.read_table(folder / name).to_pylist() for name in (ROWS_FILE, PROBLEMS_FILE)))
