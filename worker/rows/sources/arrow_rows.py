"""Rows of Arrow batches as JSON has them: decimals, dates and times become texts, bytes texts where they are."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from pyarrow import types

from worker.rows.errors import RowRefused
from worker.rows.sources.lines import LINE_LIMIT_BYTES, too_long
from worker.rows.sources.strict_json import refuse_bad_text
from worker.rows.sources.values import Fault, Value, fault_of

Convert = Callable[[Any], Any]


class ArrowBlock(NamedTuple):
    """A batch of rows; its values are made where they are wanted."""

    file: int
    first_row: int
    batch: pa.RecordBatch

    def values(self) -> Iterator[Value | Fault]:
        converts = {field.name: convert for field in self.batch.schema if (convert := converter(field.type))}
        careful = self.batch.nbytes > LINE_LIMIT_BYTES
        for number, row in self._rows():
            try:
                if row is None:
                    raise _unreadable()
                for name, convert in converts.items():
                    if row[name] is not None:
                        row[name] = convert(row[name])
                raw = orjson.dumps(row)
                if b"\\u0000" in raw:
                    refuse_bad_text(row)
                if careful and len(raw) > LINE_LIMIT_BYTES:
                    raise too_long(what="row")
            except RowRefused as refused:
                column = getattr(refused, "place", "")
                yield fault_of(refused, file=self.file, line=number, text=_shown(row), column=column)
            else:
                yield Value(self.file, number, row, None)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """None for a row that Python has no words for, such as text that is not UTF-8: Arrow does not look at it before."""
        batch = _in_microseconds(self.batch)
        try:
            rows: list[dict[str, Any] | None] = batch.to_pylist()
        except (ValueError, OverflowError):
            rows = [_one(batch.slice(place, 1)) for place in range(batch.num_rows)]
        yield from enumerate(rows, self.first_row)


def _one(row: pa.RecordBatch) -> dict[str, Any] | None:
    try:
        return dict(row.to_pylist()[0])
    except (ValueError, OverflowError):
        return None


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nanoseconds are pandas' business, and a dataset's nobody's."""
    for place, field in enumerate(batch.schema):
        if types.is_timestamp(field.type) and field.type.unit == "ns":
            cut = batch.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, cut)
    return batch


def dense(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without dictionaries, so that its size is that of its rows: a long text that each row names is a bomb."""
    for place, field in enumerate(batch.schema):
        if (spread := _spread(field.type)) != field.type:
            batch = batch.set_column(place, field.name, batch.column(place).cast(spread))
    return batch


def _spread(type: pa.DataType) -> pa.DataType:
    if types.is_dictionary(type):
        return _spread(type.value_type)
    if types.is_struct(type):
        return pa.struct([field.with_type(_spread(field.type)) for field in type])
    if types.is_list(type):
        return pa.list_(type.value_field.with_type(_spread(type.value_type)))
    if types.is_large_list(type):
        return pa.large_list(type.value_field.with_type(_spread(type.value_type)))
    return type


def converter(type: pa.DataType) -> Convert | None:
    """None: to_pylist has it right."""
    if isinstance(type, pa.BaseExtensionType):
        return converter(type.storage_type) or None
    if types.is_dictionary(type):
        return converter(type.value_type)
    if types.is_map(type):
        return _of_map(converter(type.item_type))
    if types.is_struct(type):
        inner = {field.name: convert for field in type if (convert := converter(field.type))}
        return _of_struct(inner) if inner else None
    if pa.types.is_nested(type):
        item = converter(type.field(0).type)
        return _of_list(item) if item else None
    return _of_scalar(type)


def _of_scalar(type: pa.DataType) -> Convert | None:
    if types.is_string(type) or types.is_large_string(type) or types.is_string_view(type):
        return None
    if types.is_boolean(type) or types.is_integer(type) or types.is_null(type):
        return None
    if types.is_floating(type):
        return _finite
    if types.is_temporal(type):
        return lambda value: value.isoformat() if hasattr(value, "isoformat") else str(value)
    if types.is_binary(type) or types.is_large_binary(type) or types.is_fixed_size_binary(type) or types.is_binary_view(type):
        return _text_of
    return str  # decimals, to the last digit


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise RowRefused("bad_number", reason=f"{value} is not a number that can be written.", fix="Use null instead.")
    return value


def _text_of(value: bytes) -> str | None:
    """Some writers store texts as bytes. An image's bytes are nobody's text."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _of_list(item: Convert) -> Convert:
    return lambda values: [None if value is None else item(value) for value in values]


def _of_struct(inner: dict[str, Convert]) -> Convert:
    def convert(value: dict[str, Any]) -> dict[str, Any]:
        changed = {name: change(value[name]) for name, change in inner.items() if value[name] is not None}
        return value | changed

    return convert


def _of_map(item: Convert | None) -> Convert:
    return lambda pairs: {str(key): item(value) if item and value is not None else value for key, value in pairs}


def _unreadable() -> RowRefused:
    reason = "A text of the row is not UTF-8, or a date is none, though a Parquet file says so."
    return RowRefused("not_utf8", reason=reason, fix="Write the file anew from texts.")


def _shown(row: dict[str, Any] | None) -> str:
    return "" if row is None else str(row)[:300]


def has_bytes(type: pa.DataType) -> bool:
    """Somewhere in the column."""
    if isinstance(type, pa.BaseExtensionType):
        return has_bytes(type.storage_type)
    if types.is_dictionary(type):
        return has_bytes(type.value_type)
    return _of_scalar(type) is _text_of or any(has_bytes(type.field(number).type) for number in range(type.num_fields))
