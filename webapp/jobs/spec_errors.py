"""Turns what the contract refuses into a sentence for a person, at the field where it stands. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from webapp.jobs.spec_fields import SpecField
from worker.contract.message import WrongTogether

BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}
WORDS = {
    "int_parsing": "must be a whole number.",
    "int_parsing_size": "is too large.",
    "int_from_float": "must be a whole number.",
    "int_type": "must be a whole number.",
    "float_parsing": "must be a number, such as 2e-4 or 0.05.",
    "float_type": "must be a number, such as 2e-4 or 0.05.",
    "finite_number": "must be a finite number.",
    "bool_parsing": "must be on or off.",
    "literal_error": "must be one of those offered.",
    "missing": "is needed.",
}


def plain_errors(error: ValidationError, fields: Mapping[str, SpecField]) -> Iterator[tuple[str, str]]:
    """(path of the field, or empty for the whole; sentence), one for each field."""
    told: set[str] = set()
    for problem in error.errors(include_url=False):
        path = said_at(problem) or path_of(problem["loc"], fields) or named_in(problem, fields=fields)
        if path in told and path:
            continue  # a union says the same once for each of its members
        told.add(path)
        yield path, sentence(problem, title=_title(fields.get(path), problem["loc"]))


def said_at(problem: Any) -> str:
    """The path that a check across fields names itself."""
    error = problem.get("ctx", {}).get("error")
    return error.path if isinstance(error, WrongTogether) else ""


def _title(field: SpecField | None, location: tuple[int | str, ...]) -> str:
    """As the chosen kind of the block calls it."""
    kind = next((str(part) for part in location if field and str(part) in field.of_kinds), "")
    return field.title_of(kind) if field else ""


def path_of(location: tuple[int | str, ...], fields: Mapping[str, SpecField]) -> str:
    """lora.r from ("lora", "r"), and past the tag of a union from ("quantization", "bitsandbytes_4bit", "bnb_4bit_quant_type")."""
    parts = [str(part) for part in location]
    return next((f"{parts[0]}.{part}" for part in parts[1:] if f"{parts[0]}.{part}" in fields), "")


def named_in(problem: Any, *, fields: Mapping[str, SpecField]) -> str:
    """The field that a sentence about a whole group speaks of first: "Give epochs or steps" is about Epochs."""
    said, group = str(problem["msg"]).casefold(), str(problem["loc"][0]) if problem["loc"] else ""
    found = [
        (said.find(word), field.path) for field in fields.values() for word in _names(field) if field.group == group or not group
    ]
    return min(((at, path) for at, path in found if at >= 0), default=(0, ""))[1]


def _names(field: SpecField) -> tuple[str, str]:
    return field.name.casefold(), field.title.casefold()


def sentence(problem: Any, *, title: str) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return f"{title} {words} {_number(context[name])}.".strip()
    if kind in WORDS:
        return f"{title or 'This'} {WORDS[kind]}"
    return f"{title}: {problem['msg']}." if title else f"{problem['msg']}."


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
