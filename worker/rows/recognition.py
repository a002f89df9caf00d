"""What a file's rows are, told from the first ones, and why; unsure where a person has to say which column is what."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from worker.contract.mapping import SHAPE_FIELDS, Column, Mapping, Recognition, Shape
from worker.rows.columns import columns_of
from worker.rows.shapes import WORDS, format_of, shape_of
from worker.rows.synonyms import suggestion_for

SAMPLE_ROWS = 200
ALIASES: dict[tuple[Shape, str], tuple[str, ...]] = {
    ("preference", "prompt"): ("messages", "conversations"),
    ("unpaired_preference", "label"): ("kto_tag",),
    ("unpaired_preference", "messages"): ("conversations",),
    ("unpaired_preference", "completion"): ("output",),
    ("messages", "tools"): ("functions",),
    ("sharegpt", "tools"): ("functions",),
}
SURE_SHARE = 0.5  # of the first rows; fewer of the commonest shape, and the file is something else

REASONS: dict[Shape, str] = {
    "messages": "the column messages is a list of turns with role and content",
    "sharegpt": "the column conversations is a list of turns with from and value",
    "alpaca": "there are the columns instruction and output, a question and its answer",
    "prompt_completion": "there are the columns prompt and completion",
    "text": "there is the column text",
    "preference": "there are the columns chosen and rejected, a better and a worse answer",
    "openai_preference": "there are the columns preferred_output and non_preferred_output, as OpenAI names the answers",
    "unpaired_preference": "each answer has a label, true or false",
}


def recognise(sample: Sequence[dict[str, Any]]) -> Recognition:
    """From the first rows, 200 or so. The commonest shape decides; the first one where two are equally common."""
    columns = columns_of(sample)
    shapes = Counter(shape_of(value) for value in sample)
    known = [(shape, number) for shape, number in shapes.most_common() if shape is not None]
    if known and known[0][1] >= SURE_SHARE * len(sample):
        return _recognised(known[0][0], sample, columns=columns)
    suggested = suggestion_for(columns)
    return Recognition(
        shape=None,
        format=None,
        why=_why_unsure(columns, suggested=suggested),
        is_sure=False,
        columns=columns,
        suggested=suggested,
    )


def _recognised(shape: Shape, sample: Sequence[dict[str, Any]], *, columns: tuple[Column, ...]) -> Recognition:
    formats = Counter(format_of(shape, value) for value in sample if shape_of(value) == shape)
    filled = {column.name for column in columns if column.kind != "empty"}
    used = {**_used(shape, {column.name for column in columns}), **_used(shape, filled)}  # a column may be empty in every first row
    left = [column.name for column in columns if column.name not in used.values()]
    unused = f" Not used: {', '.join(left[:8])}{' and more' if len(left) > 8 else ''}." if left else ""
    return Recognition(
        shape=shape,
        format=formats.most_common(1)[0][0],
        why=f"These are {WORDS[shape]}: {REASONS[shape]}.{unused}",
        is_sure=True,
        columns=columns,
        suggested=Mapping(shape=shape, columns=used),
    )


def _used(shape: Shape, names: Collection[str]) -> dict[str, str]:
    """Each field with the column that it is read from."""
    found: dict[str, str] = {}
    for field in SHAPE_FIELDS[shape].names:
        column = next((name for name in (field, *ALIASES.get((shape, field), ())) if name in names), "")
        if column and column not in found.values():
            found[field] = column
    return found


def _why_unsure(columns: Sequence[Column], *, suggested: Mapping | None) -> str:
    named = ", ".join(column.name for column in columns[:8]) or "none"
    if suggested is None:
        return f"No shape that Nibble knows has these columns: {named}."
    pairs = " and ".join(f"{column} as {field}" for field, column in suggested.columns.items())
    return f"These could be {WORDS[suggested.shape]}, with {pairs}; the names alone do not say so."
