"""The comparison's figures as CSV: one line a job, plain numbers. Text that a spreadsheet would run as a formula is made text."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from webapp.jobs.comparison import Column

FORMULA = ("=", "+", "-", "@", "\t", "\r")
FIGURES = (
    "peak_bytes",
    "peak_of",
    "estimated_bytes",
    "seconds",
    "samples_per_second",
    "tokens_per_second",
    "loss",
    "eval_loss",
    "trained_parameters",
    "adapter_bytes",
    "steps",
)
HEAD = ("job", "name", "state", "method", "objective", "base_model", "dataset", "pool", *FIGURES, "device")


def as_csv(columns: Sequence[Column]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEAD)
    for column in columns:
        writer.writerow([harmless(value) for value in _line(column)])
    return out.getvalue()


def _line(column: Column) -> list[Any]:
    job, spec = column.job, column.spec
    about = [
        job.pk,
        job.name,
        job.status,
        spec.method,
        spec.objective.kind,
        job.base_model.name,
        job.dataset_version,
        job.pool.name,
    ]
    return [*about, *(getattr(column.figures, name) for name in FIGURES), column.figures.device]


def harmless(value: Any) -> Any:
    """Numbers stay numbers; an apostrophe in front keeps Excel, LibreOffice and Sheets from reading text as a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
