"""Names that people typed, made fit to show."""

import pytest

from webapp.text import plain_file_name, plain_line


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("  two\r\n lines\t", "two lines"),
        ("evil\u202etxt.exe", "evil txt.exe"),
        ("nul\x00 bell\x07", "nul bell"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("\u2066\u2069", ""),
        ("família 👨\u200d👩\u200d👧 データ", "família 👨\u200d👩\u200d👧 データ"),
        ("half \ud800 pair", "half pair"),
    ],
)
def test_a_line_holds_what_can_be_seen(typed: str, shown: str):
    assert plain_line(typed, limit=100) == shown


def test_a_line_has_a_limit():
    assert plain_line("x" * 300, limit=100) == "x" * 100


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("../../x", "x"), ("C:\\a\\b.jsonl", "b.jsonl"), ("\\\\srv\\x", "x"), ("", "unnamed"), ("a/", "unnamed"), (".", ".")],
)
def test_a_file_name_is_the_last_part(typed: str, shown: str):
    assert plain_file_name(typed) == shown
