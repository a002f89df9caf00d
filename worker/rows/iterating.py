"""Usable rows of a file and the problems of the others, in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.contract.dataset import RowFormat
from worker.contract.rows_report import RowProblem
from worker.rows.errors import RowRefused
from worker.rows.reading import LINE_LIMIT_BYTES, Line, parse_object, read_lines
from worker.rows.rows_file import TRAIN, is_rows_file, read_rows_file
from worker.rows.shapes import Row, read_row


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
    for line in read_lines(path):
        try:
            row = _row_of(line, format=format)
        except RowRefused as refused:
            yield refused.on_line(line.number)
        else:
            format = row.format
            yield NumberedRow(line=line.number, row=row)


def _row_of(line: Line, *, format: RowFormat | None) -> Row:
    if line.raw is None:
        raise RowRefused(
            "line_too_long",
            reason=f"The line is longer than {LINE_LIMIT_BYTES // 1024**2} MiB.",
            fix="Split the row; no model reads this much at once.",
        )
    row = read_row(parse_object(line.raw, number=line.number))
    if format is not None and row.format != format:
        raise RowRefused(
            "mixed_formats",
            reason=f"The row is {row.format}, but the file began with {format}.",
            fix="Keep one format in a file.",
        )
    return row
