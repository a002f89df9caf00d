"""A page of a version's rows: from a row on or back, of one split, or those that hold a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pyarrow.parquet as pq

from webapp.datasets.models import DatasetVersion
from webapp.datasets.scanning import START, Cursor, Pick, Record, Slice, Wanted, page_of
from webapp.datasets.searching import rows_of_split, rows_with, says

COLUMNS = ("row", "file", "line", "split", "extra")
ROWS_A_PAGE = 25


@dataclass(frozen=True)
class Asked:
    """What a reader wants to see."""

    at: Cursor = START
    text: str = ""
    split: str = ""
    limit: int = ROWS_A_PAGE


@dataclass(frozen=True)
class StoredRow:
    number: int
    row: dict[str, Any]
    """In TRL's names: messages, prompt and completion, text, or prompt, chosen and rejected."""
    file: int
    line: int
    split: str
    extra: dict[str, Any]


@dataclass(frozen=True)
class RowsPage:
    rows: tuple[StoredRow, ...]
    slice: Slice


def rows_page(version: DatasetVersion, asked: Asked) -> RowsPage:
    """One read of a few groups of rows, whatever the version's size; a search ends after about a second, wherever it is."""
    accept = partial(_holds, text=asked.text) if asked.text else _any_row
    wanted = Wanted(COLUMNS, limit=asked.limit, pick=_pick(asked), accept=accept, weigh="row")
    found = page_of(version.rows_path, at=asked.at, wanted=wanted)
    return RowsPage(tuple(_stored(number, record) for number, record in found.records), found)


def _pick(asked: Asked) -> Pick | None:
    if asked.text and asked.split:
        return partial(_rows_of_split_with, split=asked.split, text=asked.text)
    if asked.text:
        return partial(rows_with, text=asked.text)
    return partial(rows_of_split, split=asked.split) if asked.split else None


def _rows_of_split_with(file: pq.ParquetFile, group: int, *, split: str, text: str) -> Sequence[int]:
    here = set(rows_of_split(file, group, split=split))
    return [place for place in rows_with(file, group, text=text) if place in here] if here else ()


def _any_row(record: Record) -> bool:
    return True


def _holds(record: Record, *, text: str) -> bool:
    return says(orjson.loads(record["row"]), text)


def _stored(number: int, record: Record) -> StoredRow:
    read = {**record, "row": orjson.loads(record["row"]), "extra": orjson.loads(record["extra"] or "{}")}
    return StoredRow(number=number, **read)
