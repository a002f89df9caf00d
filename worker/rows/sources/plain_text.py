"""Plain text: a row for each paragraph, or for each line of a text without blank lines."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from worker.rows.sources.jsonl import LineBlock
from worker.rows.sources.lines import BLOCK_BYTES, LINE_LIMIT_BYTES, line_blocks, too_long
from worker.rows.sources.strict_json import JsonRefused, decode, quote, refuse_bad_characters
from worker.rows.sources.values import Fault, FaultBlock, Value, fault_of

_BLANK_LINE = re.compile(rb"\S[^\n]*\n\s*?\n\s*\S")


class TextBlock(NamedTuple):
    """Paragraphs with the lines on which they begin."""

    file: int
    paragraphs: list[tuple[int, bytes]]

    def values(self) -> Iterator[Value | Fault]:
        for line, raw in self.paragraphs:
            try:
                text = decode(raw)
                refuse_bad_characters(text, place="text")
            except JsonRefused as refused:
                yield fault_of(refused, file=self.file, line=line, text=quote(raw, at=refused.position), column="text")
            else:
                yield Value(self.file, line, {"text": text}, None)


def has_paragraphs(head: bytes) -> bool:
    return _BLANK_LINE.search(head) is not None


def text_blocks(chunks: Iterable[bytes], *, file: int, by_line: bool) -> Iterator[TextBlock | FaultBlock]:
    gathered = _Paragraphs(file, by_line=by_line)
    for block in line_blocks(chunks, file=file):
        if isinstance(block, LineBlock):
            for number, line in enumerate(block.data.split(b"\n"), block.first_line):
                yield from gathered.add(number, line.rstrip())
        else:
            gathered.flush()
            yield from gathered.ready()
            yield block
    gathered.flush()
    yield from gathered.ready()


class _Paragraphs:
    """Lines on their way to be a paragraph."""

    def __init__(self, file: int, *, by_line: bool) -> None:
        self.file, self.by_line = file, by_line
        self.lines: list[bytes] = []
        self.first = self.size = self.done_bytes = 0
        self.done: list[tuple[int, bytes]] = []
        self.too_long = False

    def add(self, number: int, line: bytes) -> Iterator[TextBlock | FaultBlock]:
        if not line:
            self.flush()
        elif self.too_long:
            return
        else:
            self.first = self.first if self.lines else number
            self.lines.append(line)
            self.size += len(line) + 1
            if self.size > LINE_LIMIT_BYTES:
                yield from self.ready()
                shown = quote(self.lines[0][:1200])
                yield FaultBlock(fault_of(too_long(what="paragraph"), file=self.file, line=self.first, text=shown))
                self.lines, self.size, self.too_long = [], 0, True
            elif self.by_line:
                self.flush()
        if self.done_bytes >= BLOCK_BYTES:
            yield from self.ready()

    def flush(self) -> None:
        """What was gathered is a paragraph."""
        if self.lines:
            self.done.append((self.first, b"\n".join(self.lines)))
            self.done_bytes += self.size + 100
        self.lines, self.size, self.too_long = [], 0, False

    def ready(self) -> Iterator[TextBlock]:
        if self.done:
            yield TextBlock(self.file, self.done)
        self.done, self.done_bytes = [], 0
