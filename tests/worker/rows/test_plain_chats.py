"""Plain chats are read the short way: the same rows, digests, warnings and problems as from the long one, whatever a file holds."""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.worker.rows.checks import Outcome, check_rows
from worker.rows import blocks
from worker.rows.plain_chats import MOST_SKIPPED, Plain, plain_or_parsed
from worker.rows.sources.jsonl import LineBlock

Write = Callable[[Any], bytes]


def spaced(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def escaped(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


def close(row: Any) -> bytes:
    return orjson.dumps(row) + b"\n"


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def asked(content: Any, answer: Any = "Yes.") -> dict[str, Any]:
    return chat(("user", content), ("assistant", answer))


ORDERS = [chat(*((role, f"{role} {place}") for place, role in enumerate(roles)))
          for count in range(5) for roles in product(("system", "user", "assistant", "tool"), repeat=count)]  # fmt: skip
PIECES = (
    '"}, {"role": "',
    '"},{"role":"',
    '", "content": "',
    '","content":"',
    '{"messages": [{"role": "',
    '"}]}\n',
    '": ',
    '"}, {',
    "\\",
)
TEXTS = [
    *PIECES,
    *(f"{first}{second}" for first, second in product(PIECES, repeat=2)),
    *(f"a{chr(code)}" for code in range(0x100)),
    *map(chr, range(0x100)),
    *(chr(code) for code in range(0x100, sys.maxunicode, 1999) if not 0xD800 <= code < 0xE000),
    *(chr(code) for code in range(sys.maxunicode) if chr(code).isspace()),
    *(chr(code) for code in (0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF)),
    "", " \n\t", "語る", "🚢", "ada@post.internal", "4111 1111 1111 1111", "sk-proj-" + "a1B2c3D4e5" * 5,
]  # fmt: skip
GOOD = asked("Is it so?")
ODD: list[Any] = [
    {**GOOD, "source": "book", "tools": []},
    {"messages": [{"content": "Is it so?", "role": "user"}, {"role": "assistant", "content": "Yes."}]},
    {"messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": 0}, GOOD["messages"][1]]},
    chat(("user", [{"type": "text", "text": "in parts"}]), ("assistant", "Yes.")),
    asked(None), asked(7), asked({"role": "user"}), chat(("developer", "Be brief."), ("user", "So?"), ("assistant", "Yes.")),
    {"messages": "none"}, {"messages": None}, {"messages": {}}, {}, [], 7, {"prompt": "a", "completion": "b"},
]  # fmt: skip
GOOD_LINE = spaced(GOOD)
LINES = [
    b"\n", b"  \n", b"no JSON\n", spaced(GOOD).replace(b"\n", b"\r\n"), b" " + spaced(GOOD), spaced(GOOD).replace(b": ", b":"),
    spaced(GOOD).replace(b'"role": "user"', b'"role": "user", "role": "user"'), spaced(GOOD)[:-1] + b" " + spaced(GOOD),
    spaced(GOOD)[:-2] + b', "messages": []}\n',
    *(spaced(GOOD).replace(b"so?", text) for text in (
        rb"\u0000", rb"\ud83d", rb"\ud83d\udea2", rb"\/", rb"\b\f\n\r\t\"\\", rb"\x", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\xe8\xaa", b"\x01", b"\t", b"\x00", b"\x7f", b'"', b"\\",
    )),
]  # fmt: skip


def outcome(folder: Path, rows: list[bytes]) -> tuple[Any, ...]:
    folder.mkdir()
    found: Outcome = check_rows(folder, [spaced(asked("Is 語 UTF-8?")), *rows])  # a file that begins otherwise is refused whole
    return found.report, found.rows, found.problems


@pytest.mark.parametrize("write", [spaced, close, escaped])
def test_both_ways_are_equal(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [write(row) for row in (*ORDERS, *map(asked, TEXTS), *(asked("Is it so?", text) for text in TEXTS), *ODD)]
    each = [line for row in (*rows, *LINES) for line in (write(GOOD), row)]  # after a good one the short way is tried again
    mixed = [line for pair in zip(rows, LINES * 20, strict=False) for line in pair]
    everything = [*each, *mixed, GOOD_LINE[:-1]]  # the last line has no line feed
    short = outcome(tmp_path / "short", everything)
    monkeypatch.setattr(blocks, "plain_or_parsed", LineBlock.values)
    long = outcome(tmp_path / "long", everything)
    assert short == long
    assert min(map(len, short[1:])) > 1000
    assert {"email_address", "card_number", "access_token"} <= short[0].warning_counts.keys()


@pytest.mark.parametrize("write", [spaced, close])
def test_most_chats_are_plain(write: Write) -> None:
    rows = [
        asked("Is it so?"),
        asked("дом", "語る"),
        asked('He said: "\\n"\n', "🚢"),
        chat(("system", "Be brief."), *[("user", "a"), ("assistant", "b")] * 3),
    ]
    found = list(plain_or_parsed(LineBlock(3, 10, b"".join(map(write, rows)))))
    assert found == [Plain(3, line, orjson.dumps(row)) for line, row in enumerate(rows, 10)]
    assert [orjson.loads(item.asked) for item in found if isinstance(item, Plain)] == [row["messages"][:-1] for row in rows]


def test_lines_that_are_not_are_counted_too() -> None:
    odd = [b"no JSON\n"] * (3 * MOST_SKIPPED)
    found = list(plain_or_parsed(LineBlock(0, 1, b"".join([GOOD_LINE, *odd, *[GOOD_LINE] * 200, b"no JSON"]))))
    assert [item.line for item in found] == list(range(1, len(odd) + 203))
    assert sum(isinstance(item, Plain) for item in found) > 100
