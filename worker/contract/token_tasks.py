"""Tasks about tokens: the statistics of a version under one tokenizer and template, and rows as the model sees them.

Both name a folder in TASK_DIR with the tokenizer's files (tokenizer.json, tokenizer_config.json, chat_template.jinja).
"""

from typing import Literal, NamedTuple

from pydantic import Field

from worker.contract.dataset import ChatTemplate, Mask, RowFormat, TrainOn
from worker.contract.message import Message
from worker.contract.token_counts import Counts

TOKENIZER = "tokenizer"
MOST_ROWS = 50
MOST_PIECES = 4000
MOST_NAMED = 500


class Tokenised(Message):
    """What decides which tokens a row becomes, beside the tokenizer's files."""

    tokenizer: str = TOKENIZER
    """The folder's name in TASK_DIR."""
    chat_template: ChatTemplate = ""
    train_on: TrainOn = "assistant"


class StatisticsTask(Tokenised):
    """Tokens of every row of a rows file that no split holds out. A first answer, from a sample, comes as Progress.sample (a StatisticsReport)."""

    kind: Literal["statistics"] = "statistics"
    rows: str = "rows.parquet"
    """The rows file's name in TASK_DIR."""


class StatisticsReport(Message):
    """Everything that the Statistics tab shows; worker.contract.token_figures works it out for any max length and batch."""

    kind: Literal["statistics"] = "statistics"
    format: RowFormat | None = None
    mask: Mask | None = None
    mask_words: str = ""
    rows: int = Field(0, ge=0)
    of_rows: int = Field(0, ge=0)
    """Rows of the file to train on: more than `rows` when this comes from a sample."""
    sequences: int = Field(1, ge=1, le=2)
    """Token sequences of a row: a preference pair has two."""
    tokens: int = Field(0, ge=0)
    trained_tokens: int = Field(0, ge=0)
    untrained_rows: int = Field(0, ge=0)
    """Without any trained token: they would teach nothing, in silence."""
    endless_rows: int = Field(0, ge=0)
    """Whose last trained token is no end of a turn: they would teach the model not to stop."""
    untrained: tuple[int, ...] = Field((), max_length=MOST_NAMED)
    """Numbers of the first of them (1 is the first row of the file); none in a sample."""
    endless: tuple[int, ...] = Field((), max_length=MOST_NAMED)
    lengths: Counts = Field(default_factory=Counts)
    """Rows by tokens, of a pair by those of its longer sequence."""
    trained_at: Counts = Field(default_factory=Counts)
    """Trained tokens by their place in their sequence (0 is the first)."""
    first_trained: Counts = Field(default_factory=Counts)
    """Rows by the place of the first trained token."""
    last_trained: Counts = Field(default_factory=Counts)
    """Rows by the place of the last trained token: an end of turn."""
    refusal: str = Field("", max_length=2000)
    """Why there are no figures: no mask rule holds, or the tokenizer cannot be read. A run would fail with the same sentence."""


class RenderTask(Tokenised):
    """Some rows as text and tokens."""

    kind: Literal["render"] = "render"
    format: RowFormat
    rows: tuple[str, ...] = Field(min_length=1, max_length=MOST_ROWS)
    """Canonical JSON, as the rows file has it."""
    numbers: tuple[int, ...] = ()
    """Of each of them in the file, for sentences that name a row; 1, 2, 3 without."""
    mask: Mask | None = None
    """The rule that holds for every row of the version, once its statistics say so; else the first that holds for these."""
    most_pieces: int = Field(MOST_PIECES, ge=1, le=100_000)


class Piece(NamedTuple):
    """One token. The texts of all pieces in a row are the row's text."""

    text: str
    id: int
    is_special: bool
    is_trained: bool
    role: str
    """Whose words they are: system, user, assistant, tool, prompt, completion, text; empty for what the template writes."""


class RenderedSequence(Message):
    name: str = ""
    """chosen or rejected, good answer or bad answer; empty for rows of one sequence."""
    pieces: tuple[Piece, ...] = ()
    tokens: int = Field(0, ge=0)
    trained_tokens: int = Field(0, ge=0)
    is_cut: bool = False
    """Not all pieces are here."""


class RenderedRow(Message):
    sequences: tuple[RenderedSequence, ...] = ()
    problem: str = Field("", max_length=2000)
    """Why this row cannot be written as tokens."""


class RenderReport(Message):
    kind: Literal["render"] = "render"
    mask: Mask | None = None
    mask_words: str = ""
    rows: tuple[RenderedRow, ...] = ()
    refusal: str = Field("", max_length=2000)
