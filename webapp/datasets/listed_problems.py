"""A page of what is wrong with a version's rows, and all of it as files to download."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from webapp.datasets.models import DatasetVersion
from webapp.datasets.scanning import START, Cursor, Record, Slice, Wanted, page_of

COLUMNS = ("file", "line", "is_warning", "kind", "column", "text", "reason", "fix")
PROBLEMS_A_PAGE = 50
FORMULA = ("=", "+", "-", "@", "\t", "\r")
HEADER = ("file", "line", "column", "severity", "kind", "reason", "fix", "text")


@dataclass(frozen=True)
class AskedProblems:
    at: Cursor = START
    is_warning: bool = False
    kind: str = ""
    limit: int = PROBLEMS_A_PAGE


@dataclass(frozen=True)
class ListedProblem:
    number: int
    file: int
    line: int
    is_warning: bool
    kind: str
    column: str
    text: str
    reason: str
    fix: str


@dataclass(frozen=True)
class ProblemsPage:
    problems: tuple[ListedProblem, ...]
    slice: Slice


def problems_page(version: DatasetVersion, asked: AskedProblems) -> ProblemsPage:
    pick = partial(_of_kind, kind=asked.kind, is_warning=asked.is_warning)
    found = page_of(version.problems_path, at=asked.at, wanted=Wanted(COLUMNS, limit=asked.limit, pick=pick))
    return ProblemsPage(tuple(ListedProblem(number=number, **record) for number, record in found.records), found)


def _of_kind(file: pq.ParquetFile, group: int, *, kind: str, is_warning: bool) -> Sequence[int]:
    table = file.read_row_group(group, columns=["is_warning", "kind"], use_threads=False)
    mask = pc.equal(table.column("is_warning"), is_warning)
    if kind:
        mask = pc.and_(mask, pc.equal(table.column("kind"), kind))
    return list(pc.indices_nonzero(mask).to_pylist())


def bad_rows(path: Path) -> Iterator[bytes]:
    """The rows that cannot be used, as they stood in their files, one on each line."""
    last: tuple[int, int] | None = None
    for record in _records(path, columns=["file", "line", "is_warning", "raw"]):
        place = (record["file"], record["line"])
        if record["is_warning"] or not record["raw"] or place == last:
            continue
        last = place
        yield record["raw"].rstrip(b"\r\n") + b"\n"


def problems_csv(path: Path, *, files: Sequence[str]) -> Iterator[bytes]:
    """Problems and warnings alike. With a byte order mark: Excel takes UTF-8 for Latin-1 without it."""
    yield b"\xef\xbb\xbf" + _line(HEADER)
    for record in _records(path, columns=list(COLUMNS)):
        yield _line(_cells(record, files=files))


def _records(path: Path, *, columns: list[str]) -> Iterator[Record]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _cells(record: Record, *, files: Sequence[str]) -> tuple[Any, ...]:
    name = files[record["file"]] if record["file"] < len(files) else ""
    severity = "warning" if record["is_warning"] else "problem"
    return (name, record["line"], record["column"], severity, record["kind"], record["reason"], record["fix"], record["text"])


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([harmless(str(cell)) for cell in cells])
    return text.getvalue().encode()


def harmless(cell: str) -> str:
    """A spreadsheet runs what begins like a formula; behind an apostrophe it is text."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
