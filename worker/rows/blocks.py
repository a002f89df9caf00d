"""What becomes of a block of a source file: batches for the rows file, and what is wrong. Runs in a process of its own."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from worker.contract.dataset import RowFormat
from worker.contract.mapping import Mapping, Recognition
from worker.contract.row_warnings import WarningKind
from worker.contract.rows_report import ProblemKind
from worker.rows.canonical import as_canonical, asked_of
from worker.rows.errors import RowRefused
from worker.rows.extras import NONE, Extras
from worker.rows.findings import Finding, as_problems
from worker.rows.notes import Notes
from worker.rows.plain_chats import Plain, plain_or_parsed
from worker.rows.row import Row
from worker.rows.rows_file import Columns
from worker.rows.secrets import Private, private_parts, suspects
from worker.rows.shapes import WORDS, reader_of
from worker.rows.shown import escaped
from worker.rows.sources import Block, Fault, Value
from worker.rows.sources.jsonl import LineBlock
from worker.rows.whole_files import GROUP_BYTES, ROWS_A_GROUP

TEXT_CHARS = 400
Read = Callable[[dict[str, Any]], Row]


@dataclass(frozen=True)
class HowToRead:
    """The same for every block of the files. `found` is None when not one row could be parsed."""

    found: Recognition | Mapping | None
    format: RowFormat | None
    splits: tuple[str, ...]
    """Of each file."""
    looks_for_secrets: bool = True


class BlockRead(NamedTuple):
    batches: list[pa.RecordBatch]
    """For the rows file."""
    problems: pa.RecordBatch | None
    """For the problems file: rows left out, and warnings."""
    counts: Counter[ProblemKind]
    warnings: Counter[WarningKind]
    notes: Notes


def begin_reading(how: HowToRead) -> Callable[[Block], BlockRead]:
    return BlockReader(how).read


@dataclass
class BlockReader:
    how: HowToRead
    _notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        self._read: Read = reader_of(self.how.found, notes=self._notes) if self.how.found else _unread
        self._extras = Extras(self.how.found)
        self._may_be_plain = isinstance(self.how.found, Recognition) and self.how.found.shape == "messages"

    def read(self, block: Block) -> BlockRead:
        self._notes.clear()
        batches: list[pa.RecordBatch] = []
        bad: list[Finding] = []
        warned: list[Finding] = []
        found = plain_or_parsed(block) if self._may_be_plain and isinstance(block, LineBlock) else block.values()
        for file, items in groupby(found, key=attrgetter("file")):
            for columns in self._columns(items, file=file, bad=bad):
                batches.append(columns.batch(file=file, split=self.how.splits[file]))
                if self.how.looks_for_secrets:
                    warned += self._private(columns, file=file)
        counts, warnings = Counter[Any](item.kind for item in bad), Counter[Any](item.kind for item in warned)
        problems = as_problems(bad + warned) if bad or warned else None
        return BlockRead(batches, problems, counts, warnings, Counter(self._notes))

    def _columns(self, items: Iterator[Plain | Value | Fault], *, file: int, bad: list[Finding]) -> Iterator[Columns]:
        """Usable rows, in groups that fit the rows file. One loop for all steps: a million rows go through it."""
        columns = Columns()
        for item in items:
            if isinstance(item, Plain):
                raw, asked, extra = item.row, item.asked, NONE
            elif isinstance(item, Fault):
                bad.append(_of_fault(item))
                continue
            else:
                try:
                    raw, asked, extra = self._parts(item.value)
                except RowRefused as refused:
                    bad.append(_of_refused(refused, item))
                    continue
            columns.rows.append(raw)
            columns.digests.append(blake2b(raw, digest_size=16).digest())
            columns.asked.append(blake2b(asked, digest_size=8).digest())
            columns.lines.append(item.line)
            columns.extras.append(extra)
            columns.size += len(raw)
            if len(columns.rows) >= ROWS_A_GROUP or columns.size >= GROUP_BYTES:
                yield columns
                columns = Columns()
        if columns.rows:
            yield columns

    def _parts(self, value: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        """JSON of the row, of what it asks, and of its other columns."""
        row = self._read(value)
        if row.format != self.how.format:
            raise _mixed(row, format=self.how.format)
        return orjson.dumps(as_canonical(row)), orjson.dumps(asked_of(row)), self._extras(value)

    def _private(self, columns: Columns, *, file: int) -> Iterator[Finding]:
        joined, ends = columns.joined, columns.ends
        places = np.searchsorted(ends, np.fromiter(suspects(joined), np.int64), side="right")
        for place in np.unique(places).tolist():
            for private in private_parts(orjson.loads(columns.rows[place])):
                yield _of_private(private, file=file, line=columns.lines[place])


def _unread(value: dict[str, Any]) -> Row:
    raise RowRefused("unknown_format", reason="The row could not be read.")


def _mixed(row: Row, *, format: RowFormat | None) -> RowRefused:
    reason = f"The row is {WORDS.get(row.format, row.format)}, but the first ones are {WORDS.get(format or '', format)}."
    return RowRefused("mixed_formats", reason=reason, fix="Keep one shape in a file.")


def _of_fault(fault: Fault) -> Finding:
    problem = fault.problem
    text = escaped(fault.text, limit=TEXT_CHARS)[:TEXT_CHARS]
    return Finding(
        fault.file, fault.line, problem.kind, problem.reason, problem.fix, problem.column, text, fault.raw or fault.text.encode()
    )


def _of_refused(refused: RowRefused, item: Value) -> Finding:
    raw = item.raw if item.raw is not None else orjson.dumps(item.value, default=str)
    text = refused.text[:TEXT_CHARS]
    return Finding(item.file, item.line, refused.kind, refused.reason, refused.fix, refused.column, text, raw)


def _of_private(private: Private, *, file: int, line: int) -> Finding:
    reason = f"This looks like {private.what}. A trained model may repeat it to anyone."
    fix = "Leave it out or write a placeholder, unless it is meant to be learned."
    return Finding(file, line, private.kind, reason, fix, private.column[:200], private.shown[:TEXT_CHARS], is_warning=True)
