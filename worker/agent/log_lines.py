"""Turns what a process prints into lines for people: no control codes, no floods, progress bars as their last state."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from worker.agent.pace import Pace
from worker.contract.events import LOG_LINE_CHARS

LAST_LINES = 20  # of a flood: what a program says before it ends is what explains its end
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


class LogBudget:
    """What the log of one attempt may hold, whatever its processes print."""

    def __init__(self, pace: Pace | None = None) -> None:
        pace = pace or Pace()
        self.per_second, self.lines, self.bytes = pace.log_lines_per_second, pace.log_lines, pace.log_bytes
        self.used_lines = self.used_bytes = 0

    @property
    def is_used_up(self) -> bool:
        return self.used_lines >= self.lines or self.used_bytes >= self.bytes

    def use(self, text: str) -> None:
        self.used_lines += 1
        self.used_bytes += len(text.encode())

    @property
    def words(self) -> str:
        return f"more than {self.per_second} a second, or {self.lines:,} or {self.bytes / 2**20:g} MiB in all"


class LogSink:
    """Fed with bytes as they come, writes lines within the budget. What is dropped is counted and said.

    `look` sees every line, also those that are dropped.
    """

    def __init__(
        self,
        write: Write,
        *,
        budget: LogBudget | None = None,
        look: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._budget, self._look, self._clock = write, budget or LogBudget(), look, clock
        self._rest, self._shown_bar = b"", clock()
        self._second, self._in_second = clock(), 0
        self._dropped, self._last = 0, deque[str](maxlen=LAST_LINES)
        self._lock, self._closed = threading.Lock(), False

    def feed(self, block: bytes) -> None:
        with self._lock:
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                self._line(line)
            self._shorten_rest()

    def close(self) -> None:
        """The last words count most: an unfinished line and the last ones of a flood are written."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._rest:
                self._line(self._rest)
            self._dropped -= len(self._last)
            last = list(self._last)
            self._say_dropped()
            for text in last:
                self._write(text, "info")

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
        if self._look:
            self._look(text)
        now = self._clock()
        if now - self._second >= 1:
            self._second, self._in_second = now, 0
        if self._in_second >= self._budget.per_second or self._budget.is_used_up:
            self._dropped += 1
            self._last.append(text)
            return
        self._say_dropped()
        self._in_second += 1
        self._budget.use(text)
        self._write(text, "info")

    def _say_dropped(self) -> None:
        if self._dropped:
            self._write(f"… {self._dropped:,} line{'s' * (self._dropped != 1)} dropped: {self._budget.words}.", "warning")
        self._dropped = 0
        self._last.clear()
