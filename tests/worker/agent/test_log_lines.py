"""What a process prints becomes lines for people: clean, bounded, with nothing lost silently."""

import random
import re

import pytest

from worker.agent.log_lines import LINES_IN_ALL, LINES_PER_SECOND, LogSink, clean
from worker.contract.events import LOG_LINE_CHARS, LogWritten


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A sink and what it wrote."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.clock = Clock()
        self.sink = LogSink(lambda text, level: self.lines.append((text, level)), clock=self.clock)

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.lines]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"plain", "plain"),
        (b"with \x1b[31mcolour\x1b[0m", "with colour"),
        (b"\x1b]0;title\x07shown", "shown"),
        (b" 10%\r 50%\r100%", "100%"),
        (b"done\r", "done"),
        (b"bad \xff\xfe bytes", "bad \ufffd\ufffd bytes"),
        (b"nul \x00 bell \x07 tab\tstays", "nul  bell  tab\tstays"),
        ("größer als ½".encode(), "größer als ½"),
        (b"\r\r", ""),
    ],
)
def test_a_line_is_cleaned(line: bytes, text: str) -> None:
    assert clean(line) == text


def test_a_long_line_is_cut_to_what_the_contract_takes() -> None:
    text = clean(b"x" * 100_000)
    assert len(text) == LOG_LINE_CHARS
    assert text.endswith("… (cut)")
    LogWritten(text=text)


def test_lines_come_whole_however_they_are_cut() -> None:
    content = "eins\nzwei ½\ndrei\n\nlast".encode()
    for seed in range(50):
        told, rest, cuts = Told(), content, random.Random(seed)
        while rest:
            size = cuts.randint(1, 5)
            told.sink.feed(rest[:size])
            rest = rest[size:]
        told.sink.close()
        assert told.texts == ["eins", "zwei ½", "drei", "last"], f"seed={seed}"


def test_a_flood_is_dropped_counted_and_its_last_line_kept() -> None:
    told = Told()
    told.sink.feed(b"".join(b"line %d\n" % n for n in range(1, 10_001)))
    told.sink.close()
    assert told.texts[:2] == ["line 1", "line 2"]
    assert len(told.lines) == LINES_PER_SECOND + 2
    assert told.lines[-2] == ("9,799 lines dropped: more than 200 a second or 50,000 in all.", "warning")
    assert told.texts[-1] == "line 10000"


def test_after_a_second_lines_flow_again() -> None:
    told = Told()
    told.sink.feed(b"x\n" * (LINES_PER_SECOND + 5))
    told.clock.now += 1
    told.sink.feed(b"later\n")
    assert told.texts[-2:] == ["5 lines dropped: more than 200 a second or 50,000 in all.", "later"]


def test_there_is_an_end_to_all_lines() -> None:
    told = Told()
    for _ in range(LINES_IN_ALL // LINES_PER_SECOND + 10):
        told.clock.now += 1
        told.sink.feed(b"x\n" * LINES_PER_SECOND)
    told.sink.close()
    assert len(told.lines) == LINES_IN_ALL + 2
    assert re.match(r"1,999 lines dropped", told.texts[-2])


def test_a_line_without_an_end_takes_no_memory() -> None:
    told = Told()
    for _ in range(200):
        told.sink.feed(b"x" * 65536)
        assert len(told.sink._rest) <= LOG_LINE_CHARS * 4
    told.sink.feed(b"\nnext\n")
    assert [len(text) for text in told.texts] == [LOG_LINE_CHARS, 4]


def test_a_bar_shows_now_and_then() -> None:
    told = Told()
    for percent in range(100):
        told.sink.feed(b"\r%3d%%" % percent)
        told.clock.now += 1
    told.sink.feed(b"\r100%\n")
    told.sink.close()
    assert 9 <= len(told.texts) <= 12
    assert told.texts[-1] == "100%"
