"""The shapes of a row, told apart by their columns, and the reader of each. No row is recognised twice."""

import re
from collections.abc import Callable
from typing import Any

from worker.contract.dataset import RowFormat
from worker.contract.mapping import Mapping, Recognition, Shape
from worker.rows.chats import read_alpaca, read_messages, read_prompt_turns, read_sharegpt
from worker.rows.content import MEDIA_COLUMNS, refuse_media
from worker.rows.errors import RowRefused
from worker.rows.fields import SAMPLE, text_field
from worker.rows.notes import Notes
from worker.rows.preferences import is_unpaired, read_openai_preference, read_preference, read_unpaired
from worker.rows.row import Row as Row
from worker.rows.shown import escaped, shown

AS_TURNS = "The prompt is a list of messages, but the prompts of the file are texts."
AS_TEXT = "The prompt is a text, but the prompts of the file are lists of messages."
ReadRow = Callable[[dict[str, Any]], Row]
Read = Callable[[dict[str, Any], Notes], Row]


def _read_prompt_text(value: dict[str, Any], notes: Notes) -> Row:
    if isinstance(value.get("prompt"), list) and value["prompt"]:
        raise RowRefused("mixed_formats", reason=AS_TURNS, fix="Keep one shape in a file.", column="prompt")
    prompt, completion = text_field(value, "prompt"), text_field(value, "completion")
    return Row("prompt_completion", prompt=prompt, completion=completion)


def _read_prompt_turns(value: dict[str, Any], notes: Notes) -> Row:
    if isinstance(value.get("prompt"), str):
        raise RowRefused("mixed_formats", reason=AS_TEXT, fix="Keep one shape in a file.", column="prompt")
    return read_prompt_turns(value, notes)


def _read_text(value: dict[str, Any], notes: Notes) -> Row:
    return Row("text", text=text_field(value, "text"))


READERS: dict[Shape, Read] = {
    "messages": read_messages,
    "sharegpt": read_sharegpt,
    "alpaca": read_alpaca,
    "prompt_completion": _read_prompt_text,
    "text": _read_text,
    "preference": read_preference,
    "openai_preference": read_openai_preference,
    "unpaired_preference": read_unpaired,
}
FORMATS: dict[Shape, RowFormat] = {
    "messages": "messages",
    "sharegpt": "messages",
    "alpaca": "messages",
    "prompt_completion": "prompt_completion",
    "text": "text",
    "preference": "preference",
    "openai_preference": "preference",
    "unpaired_preference": "unpaired_preference",
}
NEEDED: dict[Shape, frozenset[str]] = {
    "messages": frozenset({"messages"}),
    "sharegpt": frozenset({"conversations"}),
    "alpaca": frozenset({"instruction", "output"}),
    "prompt_completion": frozenset({"prompt", "completion"}),
    "text": frozenset({"text"}),
    "preference": frozenset({"chosen", "rejected"}),
    "openai_preference": frozenset({"preferred_output", "non_preferred_output"}),
    "unpaired_preference": frozenset(),
}
"""Columns that make a row one of the shape, unless a column of DECIDING says otherwise."""
DECIDING = frozenset(
    {
        "preferred_output",
        "non_preferred_output",
        "chosen",
        "rejected",
        "label",
        "kto_tag",
        "messages",
        "conversations",
        *MEDIA_COLUMNS,
    }
)


def shape_of(value: dict[str, Any]) -> Shape | None:
    """The first that fits: a column that says more decides (chosen before messages, messages before prompt and text)."""
    has = {name for name, part in value.items() if part is not None}
    if has & NEEDED["openai_preference"]:
        return "openai_preference"
    if has & NEEDED["preference"]:
        return "preference"
    if is_unpaired(value):
        return "unpaired_preference"
    shapes: tuple[Shape, ...] = ("messages", "sharegpt", "alpaca", "prompt_completion", "text")
    return next((shape for shape in shapes if NEEDED[shape] <= has), None)


def format_of(shape: Shape, value: dict[str, Any]) -> RowFormat:
    """Prompts and completions written as turns are conversations."""
    return "messages" if shape == "prompt_completion" and isinstance(value.get("prompt"), list) else FORMATS[shape]


def reader_of(found: Recognition | Mapping, *, notes: Notes | None = None) -> ReadRow:
    """Reads a row of that shape; raises RowRefused with the reason and the fix, `mixed_formats` for a row of another shape."""
    notes = Notes() if notes is None else notes
    if isinstance(found, Mapping):
        return _mapped_reader(found, notes=notes)
    if found.shape is None or found.format is None:
        raise ValueError("What is not recognised cannot be read: a mapping is needed.")
    return _reader(found.shape, format=found.format, notes=notes)


def _reader(shape: Shape, *, format: RowFormat, notes: Notes) -> ReadRow:
    read = READERS[shape] if shape != "prompt_completion" else _read_prompt_turns if format == "messages" else _read_prompt_text
    needed, needs = NEEDED[shape], len(NEEDED[shape])
    deciding = DECIDING - needed

    def read_one(value: dict[str, Any]) -> Row:
        if not needed or not needed <= value.keys() or (len(value) != needs and not deciding.isdisjoint(value)):
            _check_shape(value, shape=shape)
        return read(value, notes)

    return read_one


def _check_shape(value: dict[str, Any], *, shape: Shape) -> None:
    found = shape_of(value)
    if found is None:
        raise unknown_format(value)
    if found != shape:
        raise _mixed(found, shape=shape)
    for name in MEDIA_COLUMNS:
        if value.get(name) and isinstance(value[name], list | dict | bytes):
            refuse_media(name, column=name, text=shown(value[name]))


def _mixed(found: str, *, shape: Shape) -> RowRefused:
    reason = f"The row is {WORDS.get(found, found)}, but the file is {WORDS[shape]}."
    return RowRefused("mixed_formats", reason=reason, fix="Keep one shape in a file.")


WORDS: dict[str, str] = {
    "messages": "chat messages",
    "sharegpt": "ShareGPT conversations",
    "alpaca": "instructions and outputs (Alpaca)",
    "prompt_completion": "prompts and completions",
    "text": "plain text",
    "preference": "preference pairs",
    "openai_preference": "preference pairs as OpenAI writes them",
    "unpaired_preference": "answers marked good or bad",
}


def unknown_format(value: dict[str, Any]) -> RowRefused:
    columns = ", ".join(escaped(str(name), limit=40) for name in sorted(map(str, value))[:8]) or "nothing"
    known = "neither messages, nor prompt and completion, nor text, nor chosen and rejected"
    reason = f"The row has {known}; it has: {columns}."[:500]
    return RowRefused("unknown_format", reason=reason, fix=f"Use one of them, for example {SAMPLE}.", text=shown(value))


def _mapped_reader(mapping: Mapping, *, notes: Notes) -> ReadRow:
    read, system = READERS[mapping.shape], mapping.system
    pairs = tuple((field, column) for field, column in mapping.columns.items() if column)

    def read_one(value: dict[str, Any]) -> Row:
        row = {field: value.get(column) for field, column in pairs}
        try:
            return read(_with_constant(row, system=system) if system else row, notes)
        except RowRefused as refused:
            raise _in_words_of_the_file(refused, columns=mapping.columns) from refused

    return read_one


def _in_words_of_the_file(refused: RowRefused, *, columns: dict[str, str]) -> RowRefused:
    """The problem with the column's own name: question, where a question is mapped to instruction."""
    field = re.split(r"[.\[]", refused.column, maxsplit=1)[0]
    name = escaped(columns.get(field) or field, limit=40)
    if not field or field == name:
        return refused
    reason, fix = (re.sub(rf"\b{re.escape(field)}\b", lambda _: name, said, count=1) for said in (refused.reason, refused.fix))
    return RowRefused(refused.kind, reason=reason, fix=fix, column=name + refused.column[len(field) :], text=refused.text)


def _with_constant(row: dict[str, Any], *, system: str) -> dict[str, Any]:
    """The constant system text, where the row brings none."""
    turns = next((row[name] for name in ("messages", "conversations", "prompt") if row.get(name)), None)
    first = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], dict) else {}
    has_own = row.get("system") or first.get("role", first.get("from")) in ("system", "developer")
    return row if has_own else {**row, "system": system}


def read_row(value: dict[str, Any]) -> Row:
    """The row of a single object, whatever its shape; raises RowRefused with the reason and the fix."""
    shape = shape_of(value)
    if shape is None:
        raise unknown_format(value)
    return _reader(shape, format=format_of(shape, value), notes=Notes())(value)
