"""Which rows of a group hold a text, or belong to a split: told by the columns themselves, before a row is taken apart."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

UNSEEN = {"role", "type", "id", "tool_call_id"}
"""Keys of a row whose values nobody reads as text: a search for “user” would find every row."""


def rows_of_split(file: pq.ParquetFile, group: int, *, split: str) -> Sequence[int]:
    """Most groups hold one split, and say so in the file's own statistics."""
    kept = _bounds(file, group, "split")
    if kept and not kept[0] <= split <= kept[1]:
        return ()
    if kept and kept == (split, split):
        return range(file.metadata.row_group(group).num_rows)
    column = file.read_row_group(group, columns=["split"], use_threads=False).column("split")
    return _places(pc.equal(column.cast(pa.string()), split))


def rows_with(file: pq.ParquetFile, group: int, *, text: str) -> Sequence[int]:
    """Rows whose JSON holds the text in upper or lower case. A few hold it in a key only: `says` tells."""
    column = file.read_row_group(group, columns=["row"], use_threads=False).column("row")
    return _places(pc.match_substring(column, as_in_json(text), ignore_case=True))


def as_in_json(text: str) -> str:
    """A line feed stands in JSON as backslash and n, a quote behind a backslash."""
    return orjson.dumps(text).decode()[1:-1]


def says(value: Any, text: str) -> bool:
    """Whether a text in the row, as it is read, holds `text`."""
    folded = text.casefold()
    return any(folded in said.casefold() for said in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in UNSEEN:
                yield from _texts(item)


def _bounds(file: pq.ParquetFile, group: int, column: str) -> tuple[str, str] | None:
    place = file.schema_arrow.get_field_index(column)
    kept = file.metadata.row_group(group).column(place).statistics
    return (str(kept.min), str(kept.max)) if kept is not None and kept.has_min_max else None


def _places(mask: Any) -> list[int]:
    return list(pc.indices_nonzero(mask).to_pylist())
