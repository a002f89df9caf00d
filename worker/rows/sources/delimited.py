"""CSV and its relatives: records with a header, separated by comma, tab, semicolon or bar."""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from worker.rows.errors import FileRefused, RowRefused
from worker.rows.sources.jsonl import LineBlock
from worker.rows.sources.lines import BLOCK_BYTES, LINE_LIMIT_BYTES, line_blocks, too_long
from worker.rows.sources.strict_json import decode, quote
from worker.rows.sources.values import Fault, FaultBlock, Value, fault_of

MAX_COLUMNS = 1000
NAME_CHARS = 200
Record = tuple[int, list[str]]
csv.field_size_limit(LINE_LIMIT_BYTES)


class RecordBlock(NamedTuple):
    """Records with the lines on which they begin, cut into fields but not yet compared with the header."""

    file: int
    header: tuple[str, ...]
    records: list[Record]

    def values(self) -> Iterator[Value | Fault]:
        header, width = self.header, len(self.header)
        for line, fields in self.records:
            if len(fields) != width:
                yield self._fault(_other_width(len(fields), width=width), line=line, fields=fields)
            elif any("\x00" in field for field in fields):
                refused = RowRefused("bad_text", reason="The row has a NUL character.", fix="Remove it.")
                yield self._fault(refused, line=line, fields=fields)
            else:
                yield Value(self.file, line, dict(zip(header, fields, strict=True)), None)

    def _fault(self, refused: RowRefused, *, line: int, fields: list[str]) -> Fault:
        return fault_of(refused, file=self.file, line=line, text=" | ".join(field[:60] for field in fields[:20]))


def _other_width(found: int, *, width: int) -> RowRefused:
    reason = f"The row has {found:,} field{'s' * (found != 1)}, the header {width:,}."
    fix = 'A field with a separator or a line break in it needs quotation marks around it: "one, two".'
    return RowRefused("wrong_number_of_fields", reason=reason, fix=fix)


class _Lines:
    """The csv module's food: lines of text. It goes on after it has raised, so that one bad line is one bad row."""

    def __init__(self, blocks: Iterator[LineBlock | FaultBlock]) -> None:
        self.blocks = blocks
        self.lines: Iterator[bytes] = iter(())
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """A record begins: its bytes are counted, and its first line kept to be shown."""
        self.record_bytes, self.shown = 0, b""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = next(self.lines, None)
        while raw is None:
            block = next(self.blocks)
            if isinstance(block, FaultBlock):
                self.number = block.fault.line
                raise too_long()
            self.lines = iter(block.data.splitlines(keepends=True) if b"\r" in block.data else _split(block.data))
            raw = next(self.lines, None)
        self.number += 1
        self.record_bytes += len(raw)
        self.shown = self.shown or raw[:1200]
        if self.record_bytes > LINE_LIMIT_BYTES:
            raise too_long(what="row")
        return decode(raw)


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


def record_blocks(
    chunks: Iterable[bytes], *, file: int, separator: str, escape: str | None = None
) -> Iterator[RecordBlock | FaultBlock]:
    """The first record names the columns."""
    lines = _Lines(line_blocks(chunks, file=file))
    reader = csv.reader(lines, delimiter=separator, escapechar=escape, strict=True)
    header: tuple[str, ...] = ()
    waiting: list[Record] = []
    size, is_empty = 0, True
    while True:
        first = lines.number + 1
        lines.begin()
        try:
            fields = next(reader, None)
        except (csv.Error, RowRefused) as error:
            if not header:
                raise _no_header(f"it cannot be read: {error}") from error
            refused = error if isinstance(error, RowRefused) else _broken(error)
            yield RecordBlock(file, header, waiting)
            waiting, size, is_empty = [], 0, False
            yield FaultBlock(fault_of(refused, file=file, line=first, text=quote(lines.shown)))
            continue
        if fields is None:
            break
        if not header:
            header = header_of(fields)
        elif fields:
            waiting.append((first, fields))
            is_empty = False
        size += lines.record_bytes
        if size >= BLOCK_BYTES:
            yield RecordBlock(file, header, waiting)
            waiting, size = [], 0
    if is_empty:
        raise FileRefused("empty", reason="The table has a header and no rows.", fix="Put rows below the first line.")
    yield RecordBlock(file, header, waiting)


def _broken(error: csv.Error) -> RowRefused:
    if "field larger" in str(error) or "unexpected end" in str(error):
        reason = "A quotation mark is opened here and not closed: everything after it would be one field."
        return RowRefused("not_csv", reason=reason, fix='Close it, and double the marks inside of a field: "he said ""yes""".')
    fix = 'Put quotation marks around the whole field, and double those inside: "he said ""yes""".'
    return RowRefused("not_csv", reason=f"The quotation marks of the row do not match: {error}.", fix=fix)


def header_of(fields: list[str]) -> tuple[str, ...]:
    """Names of the columns; one without a name, as pandas writes its index, gets its number."""
    if len(fields) > MAX_COLUMNS:
        reason = f"The header has {len(fields):,} columns; {MAX_COLUMNS:,} are the most."
        raise FileRefused("bad_table", reason=reason, fix="Keep the columns that the rows need.", line=1)
    names = tuple(name.strip() or f"column {place}" for place, name in enumerate(fields, 1))
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        reason = f"Two columns are called “{twice[:NAME_CHARS]}”, so one of them would be lost."
        raise FileRefused("bad_table", reason=reason, fix="Rename one of them in the first line.", line=1)
    if not looks_like_names(fields):
        raise _no_header(f"it reads “{', '.join(names)[:100]}”")
    return names


def looks_like_names(fields: list[str]) -> bool:
    """Short, on one line, and not all of them numbers or empty."""
    short = all(len(name) <= NAME_CHARS and "\n" not in name and "\x00" not in name for name in fields)
    return short and any(name.strip() and not _is_number(name) for name in fields)


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).replace("-", "", 1).isdigit()


def _no_header(detail: str) -> FileRefused:
    reason = f"The first line has to name the columns, but {detail.rstrip('.')}."
    return FileRefused("bad_table", reason=reason[:2000], fix="Add a line such as prompt,completion at the top.", line=1)
