"""A file's check as the dashboard's worker does it, without the process around it."""

import tempfile
from pathlib import Path

from worker.contract.dataset_tasks import CheckTask, SourceFile
from worker.contract.rows_report import RowsReport
from worker.rows.checking import check_files


def check_dataset(path: Path) -> RowsReport:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "0").symlink_to(path)
        return check_files(CheckTask(files=(SourceFile(path="0", name=path.name),)), folder=Path(folder))
