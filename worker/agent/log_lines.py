"""Turns what a process prints into lines for people: no control codes, no floods, progress bars as their last state."""

import re
import threading
import time
from collections.abc import Callable
from typing import Literal

from worker.contract.events import LOG_LINE_CHARS

LINES_PER_SECOND = 200
LINES_IN_ALL = 50_000
BAR_SECONDS = 10.0
CUT = " … (cut)"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a NUL would break PostgreSQL's jsonb
LONGEST_BYTES = LOG_LINE_CHARS * 4  # a UTF-8 character has four bytes at most

Level = Literal["info", "warning", "error"]
Write = Callable[[str, Level], None]


def clean(line: bytes) -> str:
    """One line for people: the last state of a progress bar, valid text, at most LOG_LINE_CHARS long."""
    states = [state for state in line.split(b"\r") if state.strip()]
    text = CONTROLS.sub("", ESCAPES.sub("", (states[-1] if states else b"").decode(errors="replace"))).rstrip()
    return text if len(text) <= LOG_LINE_CHARS else text[: LOG_LINE_CHARS - len(CUT)] + CUT


class LogSink:
    """Fed with bytes as they come, writes lines. At most LINES_PER_SECOND; what is dropped is counted and said."""

    def __init__(self, write: Write, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._rest, self._shown_bar = b"", clock()
        self._second, self._in_second, self._in_all = clock(), 0, 0
        self._dropped, self._last_dropped = 0, ""
        self._lock, self._closed = threading.Lock(), False

    def feed(self, block: bytes) -> None:
        with self._lock:
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                self._line(line)
            self._shorten_rest()

    def close(self) -> None:
        """The last words count most: an unfinished line and the last dropped one are written."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._rest:
                self._line(self._rest)
            if self._dropped:
                self._dropped -= 1
                self._say_dropped()
                self._write(self._last_dropped, "info")

    def _shorten_rest(self) -> None:
        """A bar that redraws itself shows now and then; a line without an end takes no memory."""
        if b"\r" in self._rest and self._clock() - self._shown_bar >= BAR_SECONDS:
            self._shown_bar = self._clock()
            self._line(self._rest)
            self._rest = b""
        elif b"\r" in self._rest[:-1]:
            bar = [state for state in self._rest.split(b"\r") if state.strip()]
            self._rest = (bar[-1] if bar else b"") + (b"\r" if self._rest.endswith(b"\r") else b"")
        if len(self._rest) > LONGEST_BYTES:
            self._rest = self._rest[:LONGEST_BYTES]

    def _line(self, line: bytes) -> None:
        text = clean(line)
        if not text:
            return
        now = self._clock()
        if now - self._second >= 1:
            self._second, self._in_second = now, 0
        if self._in_second >= LINES_PER_SECOND or self._in_all >= LINES_IN_ALL:
            self._dropped, self._last_dropped = self._dropped + 1, text
            return
        self._say_dropped()
        self._in_second, self._in_all = self._in_second + 1, self._in_all + 1
        self._write(text, "info")

    def _say_dropped(self) -> None:
        if self._dropped:
            self._write(
                f"{self._dropped:,} lines dropped: more than {LINES_PER_SECOND} a second or {LINES_IN_ALL:,} in all.", "warning"
            )
            self._dropped = 0
