"""The fields of a row: texts, and JSON that may stand inside a text, and what makes one unusable."""

import json
from typing import Any, NoReturn

import orjson

from worker.rows.errors import RowRefused
from worker.rows.notes import Notes
from worker.rows.shown import escaped, kind_of, shown

SAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'


def text_field(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        reason = f"{name} is {kind_of(text)}, not a text."
        raise RowRefused("bad_field", reason=reason, fix=f"Write {name} as a string.", column=name, text=_shown_or_nothing(text))
    if not text or text.isspace():
        fix = "Fill it or leave the row out."
        raise RowRefused("empty_content", reason=f"{name} is empty.", fix=fix, column=name, text=escaped(text))
    return clean(text, name=name, column=name)


def optional_text(value: dict[str, Any], name: str) -> str:
    """Empty where there is none; blanks are none."""
    text = value.get(name)
    return "" if text is None or (isinstance(text, str) and (not text or text.isspace())) else text_field(value, name)


def is_clean(text: str) -> bool:
    """Whether there is a text and nothing is wrong with it: the short way for nearly all texts."""
    return bool(text) and not text.isspace() and "\x00" not in text and (text.isascii() or _is_whole(text))


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str, *, name: str, column: str) -> str:
    """Refuses what tokenizers and databases choke on."""
    if "\x00" in text:
        near = escaped(text[max(text.index("\x00") - 20, 0) :])
        raise RowRefused("bad_text", reason=f"{name} has a NUL character (\\u0000).", fix="Remove it.", column=column, text=near)
    if not text.isascii():
        _check_surrogates(text, name=name, column=column)
    return text


def _check_surrogates(text: str, *, name: str, column: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = escaped(text[max(error.start - 20, 0) :])
        reason = f"{name} has half a surrogate pair (\\ud800 to \\udfff)."
        raise RowRefused("bad_text", reason=reason, fix="Remove it.", column=column, text=near) from error


def list_field(value: Any, *, name: str, notes: Notes) -> Any:
    """A list, or one written as JSON inside a text, as CSV files have it; else what is no list as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = json_in_text(value, name=name)
        notes["json_text"] += 1
    return [value] if isinstance(value, dict) else value


def json_in_text(text: str, *, name: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        fix = "Check quotes, commas and brackets."
        raise RowRefused(
            "bad_field", reason=f"{name} is a text that is not JSON.", fix=fix, column=name, text=shown(text)
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def plain_json(value: Any, *, name: str) -> Any:
    """The value as it can be written again: integers of at most 64 bits, whole characters, not too deep."""
    try:
        found = orjson.dumps(value)
    except (TypeError, ValueError) as error:
        fix = "Keep integers below 2^64, characters whole and nesting below 250."
        raise RowRefused("bad_field", reason=f"{name} cannot be kept: {error}.", fix=fix, column=name, text=shown(value)) from error
    if rb"\u0000" in found:
        raise RowRefused(
            "bad_text", reason=f"{name} has a NUL character (\\u0000).", fix="Remove it.", column=name, text=shown(value)
        )
    return value


def _shown_or_nothing(value: Any) -> str:
    return "" if value is None else shown(value)
