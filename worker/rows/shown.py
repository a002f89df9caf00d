"""Values of a stranger's file as words in a sentence: what kind they are, and their text, cut and escaped."""

from typing import Any

import orjson

SHOWN_CHARS = 80
KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def kind_of(value: Any) -> str:
    if value is None:
        return "missing"
    return "an empty list" if value == [] else KINDS.get(type(value), "something else")


def quoted(value: Any) -> str:
    return f"“{escaped(value, limit=40)}”" if isinstance(value, str) else kind_of(value)


def escaped(text: str, *, limit: int = SHOWN_CHARS) -> str:
    """What cannot be seen or turns the reading direction as \\uXXXX, and an ellipsis where it was cut."""
    cut = text[:limit] + "…" if len(text) > limit else text
    return cut if cut.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in cut)


def _escape(char: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or f"\\u{ord(char):04x}"


def shown(value: Any, *, limit: int = SHOWN_CHARS) -> str:
    """Any value of a row; texts without quotation marks."""
    if isinstance(value, str):
        return escaped(value, limit=limit)
    try:
        return escaped(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode(), limit=limit)
    except (TypeError, ValueError):  # integers beyond 64 bits, nesting without end
        return escaped(_plain(value), limit=limit)


def _plain(value: Any) -> str:
    try:
        return str(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than 4,300 digits
        return kind_of(value)
