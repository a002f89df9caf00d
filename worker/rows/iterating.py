"""Usable rows of a file and the problems of the others, in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.contract.dataset import RowFormat
from worker.contract.rows_report import RowProblem
from worker.rows.errors import RowRefused
from worker.rows.rows_file import TRAIN, is_rows_file, read_rows_file
from worker.rows.shapes import Row, read_row
from worker.rows.sources import Fault, Source, Value, read_values


@dataclass(frozen=True)
class NumberedRow:
    """`line`: of a source file its line, of a rows file the row's number."""

    line: int
    row: Row
    split: str = TRAIN


def read_rows(path: Path) -> Iterator[NumberedRow | RowProblem]:
    """Of a rows file, or of a source file, whose first usable row decides its format. Raises FileRefused when nothing can be read."""
    if is_rows_file(path):
        yield from (NumberedRow(line=item.number, row=item.row, split=item.split) for item in read_rows_file(path))
        return
    format: RowFormat | None = None
    for item in read_values([Source(path, path.name)]):
        if isinstance(item, Fault):
            yield _problem_of(item)
            continue
        try:
            row = _row_of(item, format=format)
        except RowRefused as refused:
            yield refused.on_line(item.line)
        else:
            format = row.format
            yield NumberedRow(line=item.line, row=row)


def _problem_of(fault: Fault) -> RowProblem:
    kind, reason, fix, column = fault.problem
    return RowProblem(line=fault.line, kind=kind, reason=reason, fix=fix, column=column, text=fault.text)


def _row_of(item: Value, *, format: RowFormat | None) -> Row:
    row = read_row(item.value)
    if format is not None and row.format != format:
        raise RowRefused(
            "mixed_formats",
            reason=f"The row is {row.format}, but the file began with {format}.",
            fix="Keep one format in a file.",
        )
    return row
