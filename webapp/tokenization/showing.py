"""Rows as the chosen model sees them, a page at a time: which rows, what each is made of, and what is said when one cannot be shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from webapp.datasets.processes import TaskFailed
from webapp.datasets.token_tasks import render_rows
from webapp.tokenization.counting import counted_report
from webapp.tokenization.page import Asked
from worker.contract.token_tasks import Piece, RenderedRow, RenderedSequence, RenderReport

ROWS_A_PAGE = 4
ONLY = {"untrained": "rows without a trained token", "endless": "rows that end without a trained end of turn"}


@dataclass(frozen=True)
class Place:
    """Where the page stands among the rows, or among those that the audit found."""

    numbers: tuple[int, ...]
    first: int
    """Of the list; 1 is the first."""
    total: int
    only: str = ""

    @property
    def last(self) -> int:
        return self.first + len(self.numbers) - 1

    @property
    def before(self) -> int | None:
        return max(1, self.first - ROWS_A_PAGE) if self.first > 1 else None

    @property
    def after(self) -> int | None:
        return self.last + 1 if self.last < self.total else None

    @property
    def words(self) -> str:
        return ONLY.get(self.only, "")


@dataclass(frozen=True)
class Turn:
    """What one role says, with what the template writes around it."""

    role: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class ShownSequence:
    given: RenderedSequence
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class ShownRow:
    number: int
    problem: str
    sequences: tuple[ShownSequence, ...]


def place_of(*, row: str, rows: int, only: str = "", found: Sequence[int] = ()) -> Place:
    """`row` is what the address says: anything. Without a list every row is on it."""
    total = len(found) if only else rows
    first = min(max(int(row), 1), max(total, 1)) if row.isascii() and row.isdigit() and len(row) < 12 else 1
    places = range(first, min(first + ROWS_A_PAGE, total + 1))
    return Place(tuple(found[place - 1] for place in places) if only else tuple(places), first, total, only)


def turns_of(pieces: Sequence[Piece]) -> Iterator[Turn]:
    """By role. What the template writes between two turns belongs to the later one, but for the first special token and the blanks
    after it: they end the turn before."""
    role, held, between = "", list[Piece](), list[Piece]()
    for piece in pieces:
        if not piece.role:
            between.append(piece)
        elif piece.role == role or not role:
            held, between, role = [*held, *between, piece], [], piece.role
        else:
            ends = _ends(between)
            yield Turn(role, (*held, *between[:ends]))
            held, between, role = [*between[ends:], piece], [], piece.role
    if held or between:
        yield Turn(role, (*held, *between))


def _ends(between: Sequence[Piece]) -> int:
    """How many of them end the turn before."""
    special = next((place + 1 for place, each in enumerate(between) if each.is_special), 0)
    blanks = takewhile(lambda each: not each.is_special and not each.text.strip(), between[special:])
    return special + sum(1 for _ in blanks) if special else 0


def shown_rows(asked: Asked, *, row: str, only: str) -> dict[str, Any]:
    if asked.model is None or not asked.has_rows:
        return {}
    counted = counted_report(asked.version, model=asked.model, reading=asked.reading)
    found = {"untrained": counted.untrained, "endless": counted.endless}.get(only) if counted else None
    place = place_of(row=row, rows=asked.version.rows, only=only if found is not None else "", found=found or ())
    report, problem = _rendered(asked, place.numbers, mask=counted.mask if counted else None)
    rows = zip(place.numbers, report.rows, strict=False) if report else ()
    return {
        "place": place,
        "report": report,
        "problem": problem,
        "rows": [_shown(number, each) for number, each in rows],
    }


def _shown(number: int, row: RenderedRow) -> ShownRow:
    return ShownRow(number, row.problem, tuple(ShownSequence(each, tuple(turns_of(each.pieces))) for each in row.sequences))


def _rendered(asked: Asked, numbers: Sequence[int], *, mask: str | None) -> tuple[RenderReport | None, str]:
    """The report, or one sentence about why there is none."""
    assert asked.model is not None
    if not numbers:
        return None, ""
    try:
        report = render_rows(
            asked.version,
            tokenizer_sha256=asked.model.tokenizer_sha256,
            numbers=numbers,
            chosen=asked.reading.chosen,
            mask=mask,
        )
    except TaskFailed as failed:
        return None, str(failed)
    except ValueError:
        return None, "The rows could not be shown: what the reader answered cannot be understood."
    return report, report.refusal
