"""OpenAI's `weight` of a turn: 0 says that an answer is read but not learned."""

from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.shown import shown

FIX = "weight is 0 (not trained on) or 1, and stands on answers of the assistant."


def weight_of(value: Any, *, role: str, place: int, column: str) -> int:
    """1 where none is given. Questions are never trained on, so a 1 on one of them is a mistake."""
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in (0, 1):
        reason = f"Message {place + 1} has the weight {shown(value)}."
        raise RowRefused("bad_field", reason=reason, fix=FIX, column=column, text=shown(value))
    if role != "assistant":
        if value:
            reason = f"Message {place + 1} has a weight, but it is no answer: its role is {role}."
            raise RowRefused("bad_field", reason=reason, fix=FIX, column=column, text=shown(value))
        return 1
    return int(value)
