"""Walks through JSON that is larger than memory: where a value ends, without parsing it. Each value is parsed later, like a line."""

import re
from collections.abc import Iterator

from worker.rows.errors import FileRefused
from worker.rows.sources.lines import LINE_LIMIT_BYTES

TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(TEXT + rb'|"|[\[\]{}]', re.DOTALL)
_STRING = re.compile(TEXT, re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,:\[\]{}"]++')
_SPACE = re.compile(rb"\s*+")


def _nested(depth: int) -> bytes:
    inner = b"|" + _nested(depth - 1) if depth else b""
    return rb'[\[{](?:[^"{}\[\]]++|' + TEXT + inner + rb")*+[\]}]"


_USUAL = re.compile(_nested(6), re.DOTALL)  # one C call for a row of the usual depth; deeper ones are walked token by token


class Scanner:
    """A buffer over the file's chunks, and a place in it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.buffer = b""
        self.at = 0

    def more(self) -> bool:
        """Drops what lies behind and reads a chunk on. False at the end of the file."""
        chunk = next((chunk for chunk in self.chunks if chunk), b"")
        if not chunk:
            return False
        self.buffer, self.at = self.buffer[self.at :] + chunk, 0
        return True

    def peek(self) -> bytes:
        """The next byte that is no white space, b"" at the end of the file."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at : self.at + 1]
            if not self.more():
                return b""

    def take(self, expected: bytes) -> bool:
        """Passes over one byte of punctuation, if it is the next."""
        if self.peek() != expected:
            return False
        self.at += 1
        return True

    def value(self) -> bytes | None:
        """The value that begins here, b"" if none does, None if it is longer than a row may be (it is passed over)."""
        first = self.peek()
        while (end := self._end_of_value(first)) is None:
            if len(self.buffer) - self.at > LINE_LIMIT_BYTES:
                self._skip(first)
                return None
            if not self.more():
                raise cut_off()
        raw, self.at = self.buffer[self.at : end], end
        return raw if len(raw) <= LINE_LIMIT_BYTES else None

    def pass_over(self) -> None:
        """A value of any length that is not wanted."""
        first = self.peek()
        end = self._end_of_value(first)
        if end is None:
            self._skip(first)
        else:
            self.at = end

    def _end_of_value(self, first: bytes) -> int | None:
        """None: not within the buffer."""
        if first and first in b"[{":
            usual = _USUAL.match(self.buffer, self.at)
            return usual.end() if usual else self._end_of_nested()
        found = (_STRING if first == b'"' else _SCALAR).match(self.buffer, self.at)
        if first == b'"':
            return found.end() if found else None
        if found is None:
            return self.at
        return found.end() if found.end() < len(self.buffer) or not self.more() else self._end_of_value(first)

    def _end_of_nested(self) -> int | None:
        depth = 0
        for token in _TOKEN.finditer(self.buffer, self.at):
            text = token.group()
            if text in (b"[", b"{"):
                depth += 1
            elif text in (b"]", b"}"):
                depth -= 1
                if depth == 0:
                    return token.end()
            elif text == b'"':
                return None  # a string that goes on
        return None

    def _skip(self, first: bytes) -> None:
        """As value(), but nothing is kept: this one may be as long as the file."""
        depth, in_string = 0, first == b'"'
        self.at += in_string
        while True:
            depth, in_string, is_over = self._walk(depth, in_string)
            if is_over:
                return
            if not self.more():
                raise cut_off()

    def _walk(self, depth: int, in_string: bool) -> tuple[int, bool, bool]:
        while True:
            if in_string:
                closed = _REST_OF_STRING.match(self.buffer, self.at)
                if closed is None:
                    slashes = len(self.buffer) - len(self.buffer.rstrip(b"\\"))
                    self.at = len(self.buffer) - slashes % 2  # half an escape stays
                    return depth, True, False
                self.at, in_string = closed.end(), False
                if depth == 0:
                    return depth, False, True
            for token in _TOKEN.finditer(self.buffer, self.at):
                text, self.at = token.group(), token.end()
                if text == b'"':
                    in_string = True
                    break
                depth += (text in (b"[", b"{")) - (text in (b"]", b"}"))
                if depth == 0 and text in (b"]", b"}"):
                    return depth, False, True
            else:
                self.at = len(self.buffer)
                return depth, False, False


def cut_off() -> FileRefused:
    return FileRefused(
        "damaged",
        reason="The JSON ends in the middle: a bracket or a quotation mark is not closed.",
        fix="Compare the file's size with the original, and upload it again.",
    )
