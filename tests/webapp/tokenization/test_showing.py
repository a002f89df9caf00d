"""Which rows a page has, and how a row's tokens fall into turns."""

import pytest

from webapp.tokenization.showing import place_of, turns_of
from worker.contract.token_tasks import Piece


def piece(text: str, role: str = "", *, special: bool = False) -> Piece:
    return Piece(text, 1, special, False, role)


START, END = piece("<s>", special=True), piece("</s>", special=True)


def test_a_turn_has_what_the_template_writes_around_it() -> None:
    pieces = [
        START,
        piece("user\n"),
        piece("Hi", "user"),
        END,
        piece("\n"),
        START,
        piece("assistant\n"),
        piece("Hello", "assistant"),
        END,
    ]
    found = [(turn.role, "".join(each.text for each in turn.pieces)) for turn in turns_of(pieces)]
    assert found == [("user", "<s>user\nHi</s>\n"), ("assistant", "<s>assistant\nHello</s>")]


def test_nothing_is_lost_whatever_the_template() -> None:
    pieces = [
        piece("### Question:\n"),
        piece("Hi", "user"),
        piece("\n\n### Answer:\n"),
        piece("Hello", "assistant"),
        piece("!", "assistant"),
    ]
    assert [each for turn in turns_of(pieces) for each in turn.pieces] == pieces
    assert [turn.role for turn in turns_of([START, END])] == [""]
    assert list(turns_of([])) == []


FIRST = (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("row", "numbers"),
    [("5", (5, 6, 7, 8)), ("9", (9, 10)), ("99", (10,)), ("", FIRST), ("0", FIRST), ("-3", FIRST), ("x", FIRST), ("9" * 40, FIRST)],
)
def test_any_row_can_be_asked_for(row: str, numbers: tuple[int, ...]) -> None:
    assert place_of(row=row, rows=10).numbers == numbers


def test_pages_of_the_rows_that_the_audit_found() -> None:
    place = place_of(row="5", rows=1000, only="untrained", found=[3, 50, 70, 90, 200, 210])
    assert (place.numbers, place.first, place.last, place.total) == ((200, 210), 5, 6, 6)
    assert (place.before, place.after) == (1, None)
    assert place_of(row="1", rows=0).numbers == ()
