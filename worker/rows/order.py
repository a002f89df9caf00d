"""Turns in order, as chat templates want them: one system text, at the start; then a question; answers after it.

Two turns of one role may follow each other: most templates write them as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from worker.rows.errors import RowRefused
from worker.rows.places import Turns
from worker.rows.row import Message
from worker.rows.shown import escaped
from worker.rows.tools import check_calls


@dataclass(frozen=True)
class _Order:
    """What a sequence of roles is: its first fault (place, reason, fix), and whether it has answers and tools' results."""

    fault: tuple[int, str, str] | None
    has_answer: bool
    has_result: bool


def check_order(messages: Sequence[Message], *, at: Turns, must_answer: bool = False) -> None:
    """`must_answer`: there has to be a turn to learn from."""
    order = _order(tuple([message["role"] for message in messages]))
    if must_answer and not order.has_answer:
        raise _no_answer(at.then or at.name)
    if order.fault is not None:
        place, reason, fix = order.fault
        column, text = f"{at(place)}.role", escaped(str(messages[place]["content"]))
        raise RowRefused("role_order", reason=reason, fix=fix, column=column, text=text)
    if order.has_result or max(map(len, messages)) > 2:  # a turn with more than role and content
        check_calls(messages, at=at)
        if must_answer:
            _check_weights(messages, name=at.then or at.name)


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


def _no_answer(name: str) -> RowRefused:
    return RowRefused(
        "no_assistant_turn",
        reason="The row has no assistant turn, so there is nothing to learn from it.",
        fix="Add the answer as a message with the role assistant.",
        column=name,
    )


def _check_weights(messages: Sequence[Message], *, name: str) -> None:
    if not any(message.get("weight", 1) for message in messages if message["role"] == "assistant"):
        reason = "Every assistant turn has weight 0, so there is nothing to learn from the row."
        raise RowRefused("no_assistant_turn", reason=reason, fix="Give one of them weight 1, or leave the row out.", column=name)
