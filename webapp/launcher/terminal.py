"""Calm progress lines: on a terminal one line a step that counts its seconds, in a log plain lines. Standard library only."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size

QUIET_SECONDS = 15.0  # in a log, at most one line of progress in this time


def seconds_as_words(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


class Step:
    """A long step. `tell` says how far it is; told nothing new, it shows that time passes."""

    def __init__(self, title: str) -> None:
        self.title, self.detail = title, ""
        self.began = self._told = time.monotonic()
        self._live = sys.stdout.isatty()
        self.tell()

    def tell(self, detail: str = "") -> None:
        self.detail = detail or self.detail
        now = time.monotonic()
        text = " · ".join(part for part in (self.title, self.detail, seconds_as_words(now - self.began)) if part)
        if self._live:
            draw(f"  … {text}")
        elif now - self._told >= QUIET_SECONDS:
            self._told = now
            say(f"… {text}")

    def end(self, *, mark: str) -> None:
        if self._live:
            draw("")
        say(f"{mark} {self.title} ({seconds_as_words(time.monotonic() - self.began)})")


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Draws the step, and its end: ✓, or ✗ if an error leaves the block."""
    drawn = Step(title)
    try:
        yield drawn
    except BaseException:
        drawn.end(mark="✗")
        raise
    drawn.end(mark="✓")


def say(line: str = "") -> None:
    print(f"  {line}" if line else "", flush=True)


def draw(text: str) -> None:
    """Replaces the line that the cursor stands in."""
    width = get_terminal_size().columns - 1
    sys.stdout.write("\r\x1b[2K" + text[:width])
    sys.stdout.flush()
