"""The shapes of a row (messages, prompt and completion, text, preferences), told apart by their fields."""

from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.fields import SAMPLE, chat_messages, text_field, tools_of
from worker.rows.preferences import is_preference, is_unpaired, read_preference, read_unpaired
from worker.rows.row import Row as Row


def read_row(value: dict[str, Any]) -> Row:
    """The row of a parsed line; raises RowRefused with the reason and the fix."""
    if is_preference(value):
        return read_preference(value)
    if is_unpaired(value):
        return read_unpaired(value)
    if "messages" in value:
        return Row(format="messages", messages=chat_messages(value["messages"]), tools=tools_of(value.get("tools")))
    if "prompt" in value and "completion" in value:
        prompt, completion = text_field(value, "prompt"), text_field(value, "completion")
        return Row(format="prompt_completion", prompt=prompt, completion=completion)
    if "text" in value:
        return Row(format="text", text=text_field(value, "text"))
    found = ", ".join(sorted(map(str, value))[:8]) or "nothing"
    raise RowRefused(
        "unknown_format",
        reason=f"The row has neither messages, nor prompt and completion, nor text, nor chosen and rejected; it has: {found}."[
            :500
        ],
        fix=f"Use one of them, for example {SAMPLE}.",
    )
