"""What the dashboard asks of `python -m worker.rows TASK_DIR`, and what comes back.

`task.json` goes in beside the files that it names; `progress.json` is rewritten now and then, `report.json` appears when all is
done, whole or not at all. Paths are names of files in TASK_DIR.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from worker.contract.derived import DiffTask, TransformTask
from worker.contract.mapping import Recognition
from worker.contract.message import Message
from worker.contract.near_duplicates import NearDuplicatesTask
from worker.contract.rows_report import FileRefusal, PreviewRow, RowProblem
from worker.contract.token_tasks import RenderTask, StatisticsTask

ROWS_FILE = "rows.parquet"
PROBLEMS_FILE = "problems.parquet"


class Progress(Message):
    """How far a task is. `sample` is a first answer, worked out from a part."""

    done: int = Field(ge=0)
    total: int | None = Field(None, ge=0)
    unit: Literal["bytes", "rows"] = "rows"
    words: str = Field("", max_length=200)
    sample: dict[str, Any] | None = None


class SourceFile(Message):
    """One of the files that a version is made of."""

    path: str
    name: str
    """As its owner called it: shown, never used as a path."""
    split: str = Field("train", max_length=40)


class CheckTask(Message):
    """Reads the source files once: writes ROWS_FILE with the usable rows, PROBLEMS_FILE with what is wrong, and a RowsReport."""

    kind: Literal["check"] = "check"
    files: tuple[SourceFile, ...] = Field(min_length=1)
    mapping: dict[str, Any] | None = None
    """worker.contract.mapping.Mapping, where somebody chose which column is which."""
    looks_for_secrets: bool = True
    """Warns of keys, cards, bank accounts and e-mail addresses."""


class TryTask(Message):
    """Reads the first rows, as they are recognised or as `mapping` says, for whoever chooses the mapping. Writes a TryReport."""

    kind: Literal["try_mapping"] = "try_mapping"
    files: tuple[SourceFile, ...] = Field(min_length=1)
    mapping: dict[str, Any] | None = None


class TryReport(Message):
    recognition: Recognition
    rows: int = Field(ge=0)
    """How many were looked at."""
    bad_rows: int = Field(0, ge=0)
    preview: tuple[PreviewRow, ...] = ()
    problems: tuple[RowProblem, ...] = ()
    refusal: FileRefusal | None = None


RowsTask = Annotated[
    CheckTask | TryTask | NearDuplicatesTask | TransformTask | DiffTask | StatisticsTask | RenderTask, Field(discriminator="kind")
]
