"""The short way for most chats: lines that are plain chats to the letter become canonical rows without being parsed.

A plain chat has messages of role and content and nothing else, no fault, and is written as json.dumps or as orjson and JSON.stringify
do. For a row of 1 KB the short way takes 4.5 µs, parsing, checking and writing it 13.5. Whatever the pattern does
not know is read the long way, which decides.
"""

from collections.abc import Iterator
from typing import NamedTuple

import re2

from worker.rows.sources import Fault, Value
from worker.rows.sources.jsonl import LineBlock

MOST_SKIPPED = 64  # lines read the long way before the next try, where one try after the other fails

# Whole characters of UTF-8, and the escapes that orjson writes as well. A text needs one that is no blank.
_VISIBLE = (
    rb"[!#-\[\]-\x{7f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{2070}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff}]"
    rb'|\\["\\]'
)
_PERHAPS_BLANK = rb"[ \x{80}-\x{a0}\x{1680}\x{2000}-\x{206f}\x{3000}]|\\[nrtbf]"
_TEXT = rb"(?:%b)*(?:%b)(?:%b|%b)*" % (_PERHAPS_BLANK, _VISIBLE, _VISIBLE, _PERHAPS_BLANK)


def _lines(*, comma: bytes, colon: bytes) -> bytes:
    """Lines of plain chats, in the order of roles that worker.rows.order asks for, and ending with an answer."""

    def turn(role: bytes) -> bytes:
        return rb'\{"role"%b"%b"%b"content"%b"%b"\}' % (colon, role, comma, colon, _TEXT)

    system, user, either, assistant = map(turn, (b"system", b"user", b"(?:user|assistant)", b"assistant"))
    return rb'(?:\{"messages"%b\[(?:%b%b)?%b(?:%b%b)*%b%b\]\}\n)+' % (colon, system, comma, user, comma, either, comma, assistant)


_RUN = re2.compile(_lines(comma=b", ", colon=b": ") + b"|" + _lines(comma=b",", colon=b":"))
# In no text: there a quote has a backslash before it, or is the last character, with } behind it.
_BEGIN, _SPACED_BEGIN = b'{"messages":[{"role":"', b'{"messages": [{"role": "'
_TURN, _SPACED_TURN = b'"},{"role":"', b'"}, {"role": "'
_CONTENT, _SPACED_CONTENT = b'","content":"', b'", "content": "'


class Plain(NamedTuple):
    """A row that is canonical JSON already."""

    file: int
    line: int
    row: bytes

    @property
    def asked(self) -> bytes:
        """JSON of everything before the last answer."""
        return self.row[len(b'{"messages":') : self.row.rindex(_TURN) + 2] + b"]"


def plain_or_parsed(block: LineBlock) -> Iterator[Plain | Value | Fault]:
    """All lines of the block in their order."""
    file, line, data = block
    place, skipped = 0, 1
    while place < len(data):
        if run := _RUN.match(data, place):
            rows = _canonical(data[place : run.end()])
            yield from map(Plain._make, zip([file] * len(rows), range(line, line + len(rows)), rows, strict=True))
            place, line, skipped = run.end(), line + len(rows), 1
        else:
            end = _after_lines(data, place, lines=skipped)
            yield from LineBlock(file, line, data[place:end]).values()
            line += data.count(b"\n", place, end)
            place, skipped = end, min(2 * skipped, MOST_SKIPPED)


def _canonical(run: bytes) -> list[bytes]:
    if not run.startswith(_SPACED_BEGIN):
        return run.split(b"\n")[:-1]
    close = run[len(_SPACED_BEGIN) : -1].replace(_SPACED_TURN, _TURN).replace(_SPACED_CONTENT, _CONTENT)
    return [_BEGIN + rest for rest in close.split(b"\n" + _SPACED_BEGIN)]


def _after_lines(data: bytes, place: int, *, lines: int) -> int:
    for _ in range(lines):
        place = data.find(b"\n", place) + 1
        if not place:
            return len(data)
    return place
