"""What the rows of a dataset file were recognised as, and a person's word on which column is what where that is unsure."""

from collections.abc import Mapping as Pairs
from typing import Literal, Self

from pydantic import Field, model_validator

from worker.contract.dataset import RowFormat
from worker.contract.message import Message, WrongTogether

Shape = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "text",
    "preference",
    "openai_preference",
    "unpaired_preference",
]
"""The ways to write a row; RowFormat is what it becomes."""

ColumnKind = Literal["text", "number", "true or false", "list", "messages", "object", "mixed", "empty"]
MAX_COLUMNS = 200  # kept of a recognition: a CSV file may have 10,000
MAX_EXAMPLES = 3
EXAMPLE_CHARS = 120
SYSTEM_CHARS = 20_000


class ShapeFields(Message):
    """The fields of a shape that a column can be chosen for. One of each tuple in `needs_one_of` must be, `takes` may be."""

    needs_one_of: tuple[tuple[str, ...], ...]
    takes: tuple[str, ...] = ()
    takes_system: bool = True
    """Whether a constant system text can stand before each row."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for names in self.needs_one_of for name in names) + self.takes


SHAPE_FIELDS: Pairs[Shape, ShapeFields] = {
    "messages": ShapeFields(needs_one_of=(("messages",),), takes=("system", "tools")),
    "sharegpt": ShapeFields(needs_one_of=(("conversations",),), takes=("system", "tools")),
    "alpaca": ShapeFields(needs_one_of=(("instruction",), ("output",)), takes=("input", "system", "history")),
    "prompt_completion": ShapeFields(needs_one_of=(("prompt",), ("completion",)), takes_system=False),
    "text": ShapeFields(needs_one_of=(("text",),), takes_system=False),
    "preference": ShapeFields(
        needs_one_of=(("chosen",), ("rejected",)), takes=("prompt", "instruction", "input", "system", "tools")
    ),
    "openai_preference": ShapeFields(needs_one_of=(("input",), ("preferred_output",), ("non_preferred_output",))),
    "unpaired_preference": ShapeFields(needs_one_of=(("label",), ("messages", "completion")), takes=("prompt", "system", "tools")),
}


class Mapping(Message):
    """Which column of the file holds which field of the shape."""

    shape: Shape
    columns: dict[str, str]
    """Field of the shape → name of the column."""
    system: str = Field("", max_length=SYSTEM_CHARS)
    """What every conversation begins with that brings no system text of its own."""

    @model_validator(mode="after")
    def _fits_the_shape(self) -> Self:
        fields = SHAPE_FIELDS[self.shape]
        for name in self.columns:
            if name not in fields.names:
                raise WrongTogether(f"{name} is no field of {self.shape}.", path=f"columns.{name}")
        for names in fields.needs_one_of:
            if not any(self.columns.get(name) for name in names):
                raise WrongTogether(f"Choose the column that holds {' or '.join(names)}.", path=f"columns.{names[-1]}")
        if self.system and not fields.takes_system:
            raise WrongTogether(f"Rows of {self.shape} have no system text.", path="system")
        return self


class Column(Message):
    """A column of the file, as the first rows show it."""

    name: str
    kind: ColumnKind
    examples: tuple[str, ...] = Field((), max_length=MAX_EXAMPLES)


class Recognition(Message):
    """What the first rows look like. Unsure, and then without a shape: a person has to say which column is what."""

    shape: Shape | None
    format: RowFormat | None
    why: str
    is_sure: bool
    columns: tuple[Column, ...] = Field((), max_length=MAX_COLUMNS)
    suggested: Mapping | None = None
