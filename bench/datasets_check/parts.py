"""The check's figures: plain, with the look for secrets, and the search for near duplicates."""

import tempfile
from pathlib import Path
from typing import Any

from bench.datasets_check.measuring import run_task
from bench.datasets_check.rows import write_chats
from bench.machine import keep
from worker.contract.dataset_tasks import ROWS_FILE, CheckTask, SourceFile
from worker.contract.near_duplicates import NearDuplicatesReport, NearDuplicatesTask
from worker.contract.rows_report import RowsReport

AIMS = {"plain_mb_per_second": 60, "with_secrets_mb_per_second": 30, "near_duplicates_seconds": 300, "peak_mb": 400}
PACKAGES = ("orjson", "pyarrow", "numpy", "google-re2", "rensa")


def measure_check(*, rows: int, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder or None) as name:
        made = Path(name)
        size = write_chats(made / "chats.jsonl", rows=rows)
        plain = _checked(made, size=size, looks_for_secrets=False)
        secrets = _checked(made, size=size, looks_for_secrets=True)
        near = _near_duplicates(made)
    parts = {"plain": plain, "with_secrets": secrets, "near_duplicates": near}
    keep("datasets_check", {"rows": rows, "mb": round(size / 1e6), "aims": AIMS, **parts}, packages=PACKAGES)


def _checked(folder: Path, *, size: int, looks_for_secrets: bool) -> dict[str, Any]:
    source = SourceFile(path="chats.jsonl", name="chats.jsonl")
    measured = run_task(folder, CheckTask(files=(source,), looks_for_secrets=looks_for_secrets))
    report = RowsReport.model_validate_json((folder / "report.json").read_bytes())
    if report.refusal:
        raise SystemExit(report.refusal.reason)
    return {
        "mb_per_second": round(size / 1e6 / measured["seconds"], 1),
        "mb_per_cpu_second": round(size / 1e6 / measured["cpu_seconds"], 1),
        **measured,
        "rows": report.rows,
        "bad_rows": report.bad_rows,
        "warnings": report.warning_counts,
    }


def _near_duplicates(folder: Path) -> dict[str, Any]:
    measured = run_task(folder, NearDuplicatesTask(rows=ROWS_FILE))
    report = NearDuplicatesReport.model_validate_json((folder / "report.json").read_bytes())
    return {**measured, "rows": report.rows, "groups": report.groups, "left_out": report.left_out}
