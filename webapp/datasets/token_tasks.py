"""The tasks that read rows with a model's tokenizer: statistics (the CPU worker's) and single rows (within a request)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings

from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.processes import Say, TaskFailed, report_in, run_in, task_folder
from webapp.datasets.stored_rows import rows_numbered
from worker.contract.dataset_tasks import ROWS_FILE
from worker.contract.message import Message
from worker.contract.token_tasks import TOKENIZER, RenderReport, RenderTask, StatisticsReport, StatisticsTask

STATISTICS = "statistics"
LEAST_SECONDS, BYTES_A_SECOND = 300.0, 200_000  # of the rows file, compressed: a tenth of what two quiet cores do
SHOWN_SECONDS = 20.0
SHOWN_PIECES = 1500  # of a row: more is not read, and a page of several such rows stays quick
GONE = "The model's tokenizer is not here any more. Let a worker look at the model again."
NO_ROWS = "The rows of this version are not in the data folder any more."


def run_statistics(task: DatasetTask, say: Say) -> dict[str, Any]:
    version, params = task.version, dict(task.params)
    tokenizer = params.pop("tokenizer_sha256")
    with _folder(StatisticsTask.model_validate(params), tokenizer_sha256=tokenizer) as folder:
        if not version.rows_path.is_file():
            raise TaskFailed(NO_ROWS)
        (folder / ROWS_FILE).symlink_to(version.rows_path)
        raw = run_in(folder, seconds=LEAST_SECONDS + version.rows_bytes / BYTES_A_SECOND, say=say)
    report = report_in(raw, kind=StatisticsReport)
    if report.refusal:
        raise TaskFailed(report.refusal)
    return report.model_dump(mode="json")


def render_rows(
    version: DatasetVersion, *, tokenizer_sha256: str, numbers: Sequence[int], chosen: dict[str, Any], mask: str | None
) -> RenderReport:
    """Rows of any place in the file, in the order of their numbers. `chosen`: template and what is trained on. Raises TaskFailed."""
    if not version.rows_path.is_file():
        raise TaskFailed(NO_ROWS)
    found = list(rows_numbered(version.rows_path, numbers))
    rows = [orjson.dumps(row).decode() for _, row in found]
    about = {
        "format": version.format,
        "rows": rows,
        "numbers": [number for number, _ in found],
        "mask": mask,
        "most_pieces": SHOWN_PIECES,
    }
    with _folder(RenderTask.model_validate(chosen | about), tokenizer_sha256=tokenizer_sha256) as folder:
        return report_in(run_in(folder, seconds=SHOWN_SECONDS), kind=RenderReport)


@contextmanager
def _folder(task: Message, *, tokenizer_sha256: str) -> Iterator[Path]:
    tokenizer = Path(settings.TOKENIZERS_DIR) / tokenizer_sha256
    if not tokenizer.is_dir():
        raise TaskFailed(GONE)
    with task_folder(task) as folder:
        (folder / TOKENIZER).symlink_to(tokenizer)
        yield folder
