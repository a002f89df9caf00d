"""How a JSON file is laid out: an object a line, a list, an object with a list in it, or objects over several lines."""

import re
from typing import Literal, NamedTuple

import orjson

from worker.rows.errors import FileRefused
from worker.rows.sources.json_scanner import TEXT, Scanner

_LIST = re.compile(rb"\[\s*\{")
_ONLY_BRACKETS = re.compile(rb"(?:\[\s*){16}")
_EMPTY_LIST = re.compile(rb"\[\s*\]\s*$")
_KEY = re.compile(rb"\s*(" + TEXT + rb")\s*:\s*")
_LIST_OF_OBJECTS = re.compile(rb"\[\s*\{")
_SCALAR = re.compile(TEXT + rb"|[^\s,\[\]{}\"]+")
# A list of objects under one of these belongs to a row and is no list of rows.
KEYS_OF_ROWS = {"messages", "conversations", "conversation", "dialog", "dialogue", "turns", "history", "prompt", "completion"} | {
    *("chosen", "rejected", "input", "output", "preferred_output", "non_preferred_output", "tools", "functions", "tool_calls"),
    *("images", "content"),
}


class Layout(NamedTuple):
    layout: Literal["lines", "list", "object", "objects"]
    key: str = ""


def json_layout(start: bytes, *, is_whole: bool) -> Layout | None:
    """None: no JSON. `start` begins with the first character that is no white space."""
    lines = _lines(start, is_whole=is_whole)
    if start.startswith(b"["):
        return _of_list(start, lines, is_whole=is_whole)
    rows = sum(map(_is_like_a_row, lines))
    if not start.startswith(b"{"):
        return Layout("lines") if rows * 2 >= len(lines) and any(map(_is_object, lines)) else None
    if len(lines) > 1 and _is_object(lines[0]):
        return Layout("lines")
    if key := key_of_rows(start):
        return Layout("object", key)
    return Layout("lines") if rows * 2 >= len(lines) or len(lines) == 1 else Layout("objects")


def _of_list(start: bytes, lines: list[bytes], *, is_whole: bool) -> Layout | None:
    if is_whole and _EMPTY_LIST.match(start):
        raise FileRefused("empty", reason="The JSON list is empty.", fix="Put rows into it.")
    if len(lines) > 1 and sum(line.startswith(b"[") and _is_json(line) for line in lines) * 2 > len(lines):
        return Layout("lines")
    if _ONLY_BRACKETS.match(start):
        return Layout("lines")
    if _LIST.match(start) or (is_whole and _is_json(start)):
        return Layout("list")
    return None


def _lines(start: bytes, *, is_whole: bool) -> list[bytes]:
    """That are not blank, and whole."""
    lines = start.split(b"\n")
    whole = lines if is_whole or len(lines) == 1 else lines[:-1]
    return [line.strip() for line in whole if line.strip()]


def _is_like_a_row(line: bytes) -> bool:
    return line.startswith(b"{") and len(line) > 1 and line.endswith((b"}", b"},"))


def _is_object(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}") and _is_json(line)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def key_of_rows(start: bytes) -> str:
    """Under which key of the object a list of rows begins, as far as one can see; "" for none."""
    at = 1
    while (key := _KEY.match(start, at)) is not None:
        name = _text(key.group(1))
        if _LIST_OF_OBJECTS.match(start, key.end()) and name not in KEYS_OF_ROWS:
            return name
        at = _end_of_value(start, key.end())
        comma = re.compile(rb"\s*,").match(start, at)
        if comma is None:
            break
        at = comma.end()
    return ""


def _text(raw: bytes) -> str:
    try:
        return str(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return ""


def _end_of_value(start: bytes, at: int) -> int:
    if start[at : at + 1] not in (b"[", b"{"):
        scalar = _SCALAR.match(start, at)
        return scalar.end() if scalar else len(start)
    scanner = Scanner(iter(()))
    scanner.buffer, scanner.at = start, at
    try:
        scanner.pass_over()
    except FileRefused:
        return len(start)
    return scanner.at
