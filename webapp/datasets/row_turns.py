"""A row as a reader sees it: who says what. One place for the row browser, differences and evidence."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TURN_CHARS = 4000
NAMES = {"prompt": "prompt", "completion": "completion", "text": "text", "chosen": "chosen", "rejected": "rejected"}


@dataclass(frozen=True)
class Turn:
    role: str
    text: str
    is_cut: bool = False


def turns_of(row: dict[str, Any]) -> tuple[Turn, ...]:
    """`row` as the rows file has it (worker.rows.canonical)."""
    return tuple(_turn(role, text) for role, text in _parts(row))


def _parts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    good = "good answer" if row.get("label") else "bad answer"
    for name, value in row.items():
        if name in ("messages", "prompt") and isinstance(value, list):
            yield from ((str(message["role"]), said_in(message)) for message in value)
        elif name in NAMES:
            role = good if name == "completion" and "label" in row else name
            yield role, value if isinstance(value, str) else "\n\n".join(map(said_in, value))


def said_in(message: dict[str, Any]) -> str:
    """What a message says, or the tools that it calls."""
    return str(message.get("content") or "") or json.dumps(message.get("tool_calls"), ensure_ascii=False)


def _turn(role: str, text: str) -> Turn:
    return Turn(role=role, text=text[:TURN_CHARS], is_cut=len(text) > TURN_CHARS)
