"""What the dashboard asks of `python -m worker.rows TASK_DIR`, and what comes back.

`task.json` goes in beside the files that it names; `progress.json` is rewritten now and then, `report.json` appears when all is
done, whole or not at all. Paths are names of files in TASK_DIR.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from worker.contract.derived import DiffTask, TransformTask
from worker.contract.message import Message
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


RowsTask = Annotated[CheckTask | TransformTask | DiffTask | StatisticsTask | RenderTask, Field(discriminator="kind")]
