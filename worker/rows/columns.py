"""The columns of a file's first rows: names, kinds and example values, for a person to choose from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from worker.contract.mapping import EXAMPLE_CHARS, MAX_COLUMNS, MAX_EXAMPLES, Column, ColumnKind
from worker.rows.shown import shown

NAME_CHARS = 200
SAME_SHARE = 0.75  # of the values: a few of another kind are problems of their rows


def columns_of(sample: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    names: Counter[str] = Counter(str(name) for value in sample for name in value)
    order = list(dict.fromkeys(str(name) for value in sample for name in value))
    kept = [name for name in order if names[name] and len(name) <= NAME_CHARS][:MAX_COLUMNS]
    return tuple(_column(name, (value.get(name) for value in sample)) for name in kept)


def _column(name: str, values: Iterable[Any]) -> Column:
    present = [value for value in values if value not in (None, "", [])]
    kinds = Counter(_kind(value) for value in present).most_common(1)
    kind: ColumnKind = "empty" if not kinds else kinds[0][0] if kinds[0][1] >= SAME_SHARE * len(present) else "mixed"
    examples = dict.fromkeys(shown(value, limit=EXAMPLE_CHARS) for value in present[: MAX_EXAMPLES * 4])
    return Column(name=name, kind=kind, examples=tuple(examples)[:MAX_EXAMPLES])


def _kind(value: Any) -> ColumnKind:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "messages" if value.startswith('[{"') else "text"
    if isinstance(value, list):
        return "messages" if value and all(isinstance(item, dict) and item.keys() & {"role", "from"} for item in value) else "list"
    return "object" if isinstance(value, dict) else "number" if isinstance(value, int | float) else "mixed"
