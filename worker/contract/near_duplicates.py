"""The search for rows that are nearly the same: what is asked, and what was found."""

from typing import Literal

from pydantic import Field

from worker.contract.message import Message

NEAR_FILE = "near_duplicates.parquet"
MOST_GROUPS, MOST_ROWS, TEXT_CHARS = 50, 4, 240  # of the examples in a report


class NearDuplicatesTask(Message):
    """Reads a rows file, writes NEAR_FILE: `number` of each row that is like an earlier one (1 is the first), `like` of that one."""

    kind: Literal["near_duplicates"] = "near_duplicates"
    rows: str
    similarity: float = Field(0.8, gt=0.5, lt=1)
    """Share of all their runs of three words that two rows have in common."""


class NearRow(Message):
    number: int = Field(ge=1)
    file: int = Field(0, ge=0)
    line: int = Field(ge=1)
    text: str = ""


class NearGroup(Message):
    size: int = Field(ge=2)
    rows: tuple[NearRow, ...] = Field(max_length=MOST_ROWS)
    """The first ones."""


class NearDuplicatesReport(Message):
    rows: int = Field(0, ge=0)
    """All that were compared."""
    groups: int = Field(0, ge=0)
    left_out: int = Field(0, ge=0)
    """Rows beyond the first of each group."""
    similarity: float = 0.8
    examples: tuple[NearGroup, ...] = Field((), max_length=MOST_GROUPS)
    """The largest groups."""
