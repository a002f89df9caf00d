"""Turns in order, as chat templates want them: one system text, at the start; then a question; answers after it.

Two turns of one role may follow each other: most templates write them as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from worker.rows.errors import RowRefused
from worker.rows.row import Message
from worker.rows.shown import escaped
from worker.rows.tools import check_calls


@dataclass(frozen=True)
class _Order:
    """What a sequence of roles is: its first fault (place, reason, fix), and whether it has answers and tools' results."""

    fault: tuple[int, str, str] | None
    has_answer: bool
    has_result: bool


def check_order(messages: Sequence[Message], *, name: str) -> None:
    order = _order(tuple([message["role"] for message in messages]))
    if order.fault is not None:
        place, reason, fix = order.fault
        column, text = f"{name}[{place}].role", escaped(str(messages[place]["content"]))
        raise RowRefused("role_order", reason=reason, fix=fix, column=column, text=text)
    if order.has_result or has_extras(messages):
        check_calls(messages, name=name)


def has_extras(messages: Sequence[Message]) -> bool:
    """Whether a turn has more than role and content: most rows need no look at calls and weights."""
    return max(map(len, messages)) > 2


@lru_cache(maxsize=4096)  # a file has few sequences of roles, and a million rows
def _order(roles: tuple[str, ...]) -> _Order:
    return _Order(fault=_fault(roles), has_answer="assistant" in roles, has_result="tool" in roles)


def _fault(roles: tuple[str, ...]) -> tuple[int, str, str] | None:
    """Where the first fault is, what it is and how to mend it."""
    for place, role in enumerate(roles):
        if role == "system" and place:
            if roles[0] == "system":
                return place, f"Message {place + 1} is a second system message.", "Put what both say into the first one."
            return place, f"The system message is message {place + 1}, not the first.", "Move it to the start, or leave it out."
    start = 1 if roles[0] == "system" else 0
    if start < len(roles) and roles[start] == "assistant":
        fix = "Begin with what the user says, or leave the row out: many chat templates refuse such a row."
        return start, "The assistant speaks first, so the row does not say what was asked.", fix
    return None


def check_learns(messages: Sequence[Message], *, name: str) -> None:
    """There must be an answer, and not every answer switched off."""
    if not _order(tuple([message["role"] for message in messages])).has_answer:
        raise RowRefused(
            "no_assistant_turn",
            reason="The row has no assistant turn, so there is nothing to learn from it.",
            fix="Add the answer as a message with the role assistant.",
            column=name,
        )
    if has_extras(messages) and not any(message.get("weight", 1) for message in messages if message["role"] == "assistant"):
        reason = "Every assistant turn has weight 0, so there is nothing to learn from the row."
        raise RowRefused("no_assistant_turn", reason=reason, fix="Give one of them weight 1, or leave the row out.", column=name)
