"""Keys, cards, accounts and addresses: warned of, never shown whole, and nothing that only looks alike. All of them are made up."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.rows.checks import check_rows

LETTERS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA"
REAL = [
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----"),
    ("private_key", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    ("access_token", "AKIA" + "QWERTYUIOPASDFGH"),
    ("access_token", "ghp_" + LETTERS + "abcd"),
    ("access_token", "github_pat_" + LETTERS + LETTERS),
    ("access_token", "sk-proj-" + LETTERS + "_-" + LETTERS),
    ("access_token", "sk-" + LETTERS + LETTERS[:16]),
    ("access_token", "sk-ant-api03-" + LETTERS + LETTERS),
    ("access_token", "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
    ("access_token", "xoxb-" + "123456789012-abcdefABCDEF"),
    ("access_token", "AIza" + LETTERS + "xyz"),
    ("access_token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijKLMNOP"),
    ("card_number", "4111 1111 1111 1111"),
    ("card_number", "5555-5555-5555-4444"),
    ("card_number", "378282246310005"),
    ("card_number", "6011111111111117"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("email_address", "jane.doe+news@mail.nibble.dev"),
]
HARMLESS = [
    "4111 1111 1111 1112",  # wrong check digit
    "4111111111111111000000",  # part of a longer number
    "1700000000000",  # milliseconds
    "0000 0000 0000 0000",
    "DE89 3704 0044 0532 0130 01",
    "jane@example.org and bob@mail.example.com",
    "@someone wrote: a@b, at 10@5.5",
    "the sk-learn estimator and task-" + "a" * 20,
    "-----BEGIN CERTIFICATE-----",
    "5e2f" * 10,  # a hash
]


def chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": text}]}


@pytest.mark.parametrize(("kind", "secret"), REAL)
def test_each_is_found_in_its_place_and_cut(tmp_path: Path, kind: str, secret: str) -> None:
    found = check_rows(tmp_path, [chat("harmless"), chat(f"See:\n{secret}\nand “more”")])
    assert found.report.warning_counts == {kind: 1}
    (told,) = found.told(kind)
    assert (told["line"], told["column"], told["is_warning"]) == (2, "messages[1].content", True)
    assert kind == "private_key" or ("…" in told["text"] and secret not in told["text"])
    assert secret not in told["reason"]
    assert (found.report.rows, found.report.bad_rows) == (2, 0)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_is_not_told(tmp_path: Path, text: str) -> None:
    assert check_rows(tmp_path, [chat(text)]).report.warning_counts == {}


def test_a_row_is_told_once_for_each_kind(tmp_path: Path) -> None:
    found = check_rows(tmp_path, [chat("a@mail.nibble.dev b@mail.nibble.dev 4111111111111111"), chat("c@mail.nibble.dev")])
    assert found.report.warning_counts == {"card_number": 1, "email_address": 2}


def test_tools_are_looked_at_too(tmp_path: Path) -> None:
    row = {**chat("done"), "tools": [{"type": "function", "function": {"name": "f", "description": "a@mail.nibble.dev"}}]}
    assert check_rows(tmp_path, [row]).told("email_address")[0]["column"] == "tools[0].function.description"


def test_it_can_be_left_out(tmp_path: Path) -> None:
    assert check_rows(tmp_path, [chat("a@mail.nibble.dev")], looks_for_secrets=False).report.warning_counts == {}
