"""What a process prints becomes lines for people: clean, bounded, with nothing lost silently."""

import random

import pytest

from worker.agent.log_lines import LAST_LINES, LogBudget, LogSink, clean
from worker.agent.pace import Pace
from worker.contract.events import LOG_LINE_CHARS, LogWritten


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A sink and what it wrote."""

    def __init__(self, budget: LogBudget | None = None) -> None:
        self.lines: list[tuple[str, str]] = []
        self.clock = Clock()
        self.looked: list[str] = []
        self.sink = LogSink(self._write, budget=budget, look=self.looked.append, clock=self.clock)

    def _write(self, text: str, level: str) -> None:
        self.lines.append((text, level))

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


def test_a_flood_is_dropped_counted_and_its_last_lines_kept() -> None:
    told = Told()
    told.sink.feed(b"".join(b"line %d\n" % n for n in range(1, 10_001)))
    told.sink.close()
    assert told.texts[:2] == ["line 1", "line 2"]
    notice = "… 9,780 lines dropped: more than 200 a second, or 50,000 or 32 MiB in all."
    assert told.lines[200] == (notice, "warning")
    assert told.texts[201:] == [f"line {n}" for n in range(9_981, 10_001)]
    assert len(told.looked) == 10_000, "who looks for trouble sees the dropped ones, too"


def test_after_a_second_lines_flow_again() -> None:
    told = Told()
    told.sink.feed(b"x\n" * 205)
    told.clock.now += 1
    told.sink.feed(b"later\n")
    assert told.texts[200:] == ["… 5 lines dropped: more than 200 a second, or 50,000 or 32 MiB in all.", "later"]


def test_there_is_an_end_to_all_lines_of_an_attempt() -> None:
    budget = LogBudget(Pace(log_lines=1_000))
    first, second = Told(budget), Told(budget)
    for told in (first, second):
        for _ in range(4):
            told.clock.now += 1
            told.sink.feed(b"x\n" * 200)
        told.sink.close()
    assert first.texts == ["x"] * 800
    assert second.texts[:200] == ["x"] * 200, "two processes of one attempt share its budget"
    assert second.texts[200].startswith("… 580 lines dropped: ")
    assert len(second.texts) == 201 + LAST_LINES


def test_there_is_an_end_to_all_bytes_of_an_attempt() -> None:
    told = Told(LogBudget(Pace(log_bytes=10_000)))
    told.sink.feed(b"".join(b"%s\n" % (b"x" * 1_000) for _ in range(30)))
    told.sink.close()
    assert [text[0] for text in told.texts] == [*"x" * 10, *"x" * 20]
    assert told.lines[10][1] == "info"


def test_a_line_more_than_fits_is_said() -> None:
    told = Told(LogBudget(Pace(log_lines=1)))
    told.sink.feed(b"".join(b"line %d\n" % n for n in range(23)))
    told.sink.close()
    assert told.texts[:3] == ["line 0", "… 2 lines dropped: more than 200 a second, or 1 or 32 MiB in all.", "line 3"]


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
