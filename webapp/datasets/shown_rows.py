"""Rows as the page shows them: who says what, tools and their calls, the better answer beside the worse, where each row came from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.datasets.browsing import StoredRow

HEAD_CHARS = 1200  # of a long text; the rest is folded
TURN_CHARS = 40_000
ROW_CHARS = 100_000
TURNS = 100  # of one row


@dataclass(frozen=True)
class ShownCall:
    """A tool that a message calls."""

    name: str
    arguments: str


@dataclass(frozen=True)
class ShownTurn:
    role: str
    head: str
    rest: str = ""
    chars: int = 0
    is_cut: bool = False
    calls: tuple[ShownCall, ...] = ()
    is_left_out: bool = False
    """Weight 0: the model reads it and is not trained on it."""
    note: str = ""


@dataclass(frozen=True)
class ShownRow:
    number: int
    came_from: str
    split: str
    turns: tuple[ShownTurn, ...] = ()
    chosen: tuple[ShownTurn, ...] = ()
    rejected: tuple[ShownTurn, ...] = ()
    label: bool | None = None
    tools: tuple[ShownCall, ...] = ()
    more_turns: int = 0
    extra: tuple[tuple[str, str], ...] = ()


def shown_row(stored: StoredRow, *, files: Sequence[str]) -> ShownRow:
    row = stored.row
    room = _Room()
    asked = room.take(_asked(row))
    return ShownRow(
        number=stored.number,
        came_from=_came_from(stored, files=files),
        split=stored.split,
        turns=asked,
        chosen=room.take(_said(row.get("chosen"), role="")),
        rejected=room.take(_said(row.get("rejected"), role="")),
        label=row.get("label"),
        tools=tuple(_tool(tool) for tool in row.get("tools") or ()),
        more_turns=room.refused,
        extra=tuple((name, _as_text(value)[:200]) for name, value in stored.extra.items()),
    )


class _Room:
    """How much of one row a page shows."""

    def __init__(self) -> None:
        self._chars, self._turns, self.refused = ROW_CHARS, TURNS, 0

    def take(self, messages: Iterable[dict[str, Any]]) -> tuple[ShownTurn, ...]:
        kept = []
        for message in messages:
            if self._chars <= 0 or self._turns <= 0:
                self.refused += 1
                continue
            turn = _turn(message)
            self._chars -= len(turn.head) + len(turn.rest) + sum(len(call.arguments) for call in turn.calls)
            self._turns -= 1
            kept.append(turn)
        return tuple(kept)


def _asked(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything but the answers of a preference; texts as messages whose role says what they are."""
    messages: list[dict[str, Any]] = []
    for name in ("messages", "prompt", "text", "completion"):
        messages += _said(row.get(name), role=name)
    return messages


def _said(value: Any, *, role: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value else []
    return list(value or ())


def _turn(message: dict[str, Any]) -> ShownTurn:
    text = _as_text(message.get("content"))
    kept = text[:TURN_CHARS]
    name = message.get("name") or message.get("tool_call_id") or ""
    return ShownTurn(
        role=str(message.get("role", "")),
        head=kept[:HEAD_CHARS],
        rest=kept[HEAD_CHARS:],
        chars=len(text),
        is_cut=len(text) > TURN_CHARS,
        calls=tuple(_call(call) for call in message.get("tool_calls") or ()),
        is_left_out=message.get("weight") == 0,
        note=str(name)[:200],
    )


def _call(call: Any) -> ShownCall:
    function = call.get("function", call) if isinstance(call, dict) else {}
    return ShownCall(name=str(function.get("name", "")), arguments=_pretty(function.get("arguments"))[:TURN_CHARS])


def _tool(tool: Any) -> ShownCall:
    """What may be called: its name, and what it takes."""
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    about = {name: value for name, value in function.items() if name != "name"} if isinstance(function, dict) else {}
    return ShownCall(name=str(function.get("name", "tool")), arguments=_pretty(about)[:TURN_CHARS])


def _pretty(value: Any) -> str:
    """Arguments come as an object, or as its JSON in a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    return json.dumps(value, ensure_ascii=False, indent=2) if value is not None else ""


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _came_from(stored: StoredRow, *, files: Sequence[str]) -> str:
    if not files:
        return ""
    name = files[stored.file] if stored.file < len(files) else "another file"
    return f"{name}, line {stored.line:,}"
