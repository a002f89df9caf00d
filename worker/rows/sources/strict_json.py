"""JSON to the letter, slowly: for the lines that the fast parser refuses or might read wrongly, with the exact reason."""

import json
import math
from typing import Any, NoReturn

import orjson

from worker.rows.errors import RowRefused

MAX_DEPTH = 254  # as deep as orjson writes
BEFORE, LARGEST, SMALLEST = 60, 2**64 - 1, -(2**63)


class JsonRefused(RowRefused):
    """With the place in the text, or in the row, so that it can be shown."""

    position = 0
    place = ""

    def at(self, position: int, *, place: str = "") -> "JsonRefused":
        self.position, self.place = position, place
        return self


def parse_strictly(raw: bytes) -> dict[str, Any]:
    """The object, or JsonRefused: other encodings, NaN, equal keys, half surrogate pairs and the like are refused here."""
    text = decode(raw)
    value = _parse(text)
    if not isinstance(value, dict):
        fix = 'Write {"messages": [...]} on each line.'
        raise JsonRefused("not_an_object", reason=f"This is JSON, but {_name_of(value)} and no object.", fix=fix)
    refuse_bad_text(value)
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise _too_deep() from error
    return value


def decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"The byte 0x{raw[error.start]:02x} at position {error.start + 1} is not UTF-8, though the rest of the file is."
        fix = "Write the character in UTF-8. Editors show it as � or as a box."
        raise JsonRefused("not_utf8", reason=reason, fix=fix).at(error.start) from error


def quote(raw: bytes, *, at: int = 0) -> str:
    """The text around a place, for people: what cannot be shown is replaced."""
    start = max(0, at - BEFORE)
    return raw[start : start + 1200].decode("utf-8", "replace").lstrip("�" if start else "")


def _parse(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except json.JSONDecodeError as error:
        reason = f"This is not JSON: {error.msg} at position {error.pos + 1}."
        refused = JsonRefused("not_json", reason=reason, fix=_fix_for(text, error.pos))
        raise refused.at(len(text[: error.pos].encode("utf-8", "replace"))) from error


def _fix_for(text: str, position: int) -> str:
    if position >= len(text.rstrip()):
        return "The row is cut off: write the whole object on one line."
    if text[position : position + 1] == "'":
        return 'JSON has double quotes: write {"role": "user"}, for example with json.dumps.'
    return "Check quotes, commas and brackets there."


def _too_deep() -> JsonRefused:
    return JsonRefused("not_json", reason=f"The JSON is nested more than {MAX_DEPTH} deep.", fix="Flatten the row.")


def _refuse_constant(name: str) -> NoReturn:
    raise JsonRefused("bad_number", reason=f"{name} is not JSON.", fix="Use a number or null instead.")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not SMALLEST <= (number := int(digits)) <= LARGEST:
        shown = digits if len(digits) <= 24 else f"{digits[:20]}…"
        reason = f"The number {shown} has {len(digits.lstrip('-'))} digits: more than 64 bits hold."
        raise JsonRefused("bad_number", reason=reason, fix="Write it as a text, in quotes.")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonRefused("bad_number", reason=f"The number {digits[:24]} is too large.", fix="Write it as a text, in quotes.")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        reason = f"The key “{twice[:100]}” is there twice in one object, so one of the two values would be lost."
        raise JsonRefused("duplicate_key", reason=reason, fix="Keep one of them, or rename one.")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float, object_pairs_hook=_object)


def refuse_bad_text(value: Any, place: str = "") -> None:
    if isinstance(value, str):
        refuse_bad_characters(value, place=place)
    elif isinstance(value, dict):
        for key, inner in value.items():
            refuse_bad_characters(key, place=place, called="A key")
            refuse_bad_text(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            refuse_bad_text(inner, f"{place}[{number}]")


def refuse_bad_characters(text: str, *, place: str, called: str = "") -> None:
    """What tokenizers and databases choke on."""
    called = called or place[:100]
    if "\x00" in text:
        refused = JsonRefused("bad_text", reason=f"{called} has a NUL character (\\u0000).", fix="Remove it.")
        raise refused.at(0, place=place)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        reason = f"{called} has half a surrogate pair (\\u{ord(text[error.start]):04x})."
        refused = JsonRefused("bad_text", reason=reason, fix="Remove it, or write the whole character.")
        raise refused.at(0, place=place) from error


def _name_of(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "null")
