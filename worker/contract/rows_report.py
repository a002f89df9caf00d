"""What `python -m worker.rows` found in a dataset file: the dashboard shows it, nobody has to read the file again."""

from typing import Any, Literal

from pydantic import Field

from worker.contract.dataset import RowFormat
from worker.contract.message import Message
from worker.contract.row_warnings import WarningKind

MAX_PROBLEMS = 200
PREVIEW_ROWS = 50
PREVIEW_TURNS = 40  # of one row
PREVIEW_CHARS = 4000  # of one text in the preview; a 4 MiB row must not make a 200 MiB report

RefusalKind = Literal[
    "empty",
    "not_utf8",
    "json_array",
    "not_jsonl",
    "binary",
    "no_rows",
    "unreadable",
    "damaged",
    "too_large",
    "no_list",
    "bad_table",
]
ProblemKind = Literal[
    "not_json",
    "not_utf8",
    "duplicate_key",
    "not_csv",
    "wrong_number_of_fields",
    "not_an_object",
    "line_too_long",
    "unknown_format",
    "mixed_formats",
    "bad_number",
    "bad_text",
    "bad_messages",
    "wrong_role",
    "empty_content",
    "content_not_text",
    "no_assistant_turn",
    "bad_field",
    "no_answer",
    "same_answers",
    "role_order",
    "bad_tool_call",
    "unsupported_media",
]


class FileRefusal(Message):
    """Why nothing of the file can be used."""

    kind: RefusalKind
    reason: str = Field(min_length=1, max_length=2000)
    fix: str = Field("", max_length=2000)
    line: int | None = Field(None, ge=1)


class RowProblem(Message):
    """Why one line was left out, or what to know about one that was not."""

    line: int = Field(ge=1)
    kind: ProblemKind | WarningKind
    reason: str = Field(min_length=1, max_length=2000)
    fix: str = Field("", max_length=2000)
    file: int = Field(0, ge=0)
    """Which of the version's source files."""
    column: str = Field("", max_length=200)
    """Where in the row, as JSON counts: messages[2].content is of the third message."""
    text: str = Field("", max_length=400)
    """What stands there, cut and escaped."""


class PreviewTurn(Message):
    """One piece of a row: a message, or the prompt, completion or text field."""

    role: str
    text: str
    is_cut: bool = False


class PreviewRow(Message):
    line: int = Field(ge=1)
    turns: tuple[PreviewTurn, ...]


class RowsReport(Message):
    format: RowFormat | None = None
    rows: int = Field(0, ge=0)
    """Rows that can be trained on."""
    bad_rows: int = Field(0, ge=0)
    size_bytes: int = Field(0, ge=0)
    problems: tuple[RowProblem, ...] = Field((), max_length=MAX_PROBLEMS)
    """The first ones; `problem_counts` counts all."""
    problem_counts: dict[ProblemKind, int] = {}
    warning_counts: dict[str, int] = {}
    """Of rows that can be used nevertheless."""
    notes: tuple[str, ...] = ()
    """What was normalised, and what the file was recognised as: sentences for the page."""
    sources: tuple[str, ...] = ()
    """What each source file is: jsonl, json, delimited, parquet, text; packed ones with +gzip or +zstd."""
    splits: dict[str, int] = {}
    """Rows of each split: train, validation, test."""
    recognition: dict[str, Any] | None = None
    """What the rows look like and why, their columns with examples, and a mapping to propose."""
    is_unsure: bool = False
    """Somebody has to say which column is which."""
    refusal: FileRefusal | None = None
    preview: tuple[PreviewRow, ...] = Field((), max_length=PREVIEW_ROWS)
