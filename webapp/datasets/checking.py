"""Starts `python -m worker.rows` on a file and reads its report. The file is a stranger's: its reader has limits and no secrets."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings
from pydantic import ValidationError

from worker.contract.rows_report import FileRefusal, PreviewRow, RowsReport

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
HEAD_BYTES = 2**20
PREVIEW_BUDGET = 256 * 2**10  # characters of preview kept: it is read with every look at the page


def check_file(path: Path, *, seconds: float) -> RowsReport:
    """The report on the whole file. A reader that died or took too long is a refusal, not an exception."""
    with tempfile.TemporaryDirectory(prefix="check-", dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
        (Path(folder) / "dataset.jsonl").symlink_to(path)
        return _run(Path(folder), seconds=seconds)


def check_head(path: Path, *, seconds: float) -> FileRefusal | None:
    """What the first lines of a large file give away: that it is no JSONL at all. Everything else needs the whole file."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if path.stat().st_size > HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head[:4096]  # a line cut in the middle would be a false alarm
    with tempfile.TemporaryDirectory(prefix="check-", dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
        (Path(folder) / "dataset.jsonl").write_bytes(head)
        refusal = _run(Path(folder), seconds=seconds).refusal
    return refusal if refusal and refusal.kind not in ("no_rows", "unreadable") else None


def _run(folder: Path, *, seconds: float) -> RowsReport:
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    command = [sys.executable, "-m", "worker.rows", str(folder)]
    try:
        subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=environment,
            timeout=seconds,
            check=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return RowsReport.model_validate_json((folder / "report.json").read_bytes())
    except subprocess.TimeoutExpired:
        return unfinished(f"The check took longer than {seconds:,.0f} seconds and was stopped.")
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
        return unfinished(f"The check ended with code {error.returncode}. {last}".strip())
    except (OSError, ValidationError) as error:
        return unfinished(f"The report of the check cannot be read: {type(error).__name__}.")


def unfinished(reason: str) -> RowsReport:
    fix = "Check it again. If that fails too, split the file into smaller ones."
    return RowsReport(refusal=FileRefusal(kind="unreadable", reason=reason, fix=fix))


def within_budget(report: RowsReport) -> RowsReport:
    """Without the preview rows for which there is no room."""
    room = PREVIEW_BUDGET
    kept: list[PreviewRow] = []
    for row in report.preview:
        room -= sum(len(turn.text) + 40 for turn in row.turns)
        if room < 0 and kept:
            break
        kept.append(row)
    return report.model_copy(update={"preview": tuple(kept)})
