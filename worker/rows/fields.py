"""The fields of a row: texts, messages and tools, and what makes one unusable."""

from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.row import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
SAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
MESSAGE_EXTRAS = ("name", "tool_calls", "tool_call_id", "reasoning_content", "thinking")


def text_field(value: dict[str, Any], name: str) -> str:
    text = value[name]
    if not isinstance(text, str):
        raise RowRefused("bad_field", reason=f"{name} is {kind_of(text)}, not a text.", fix=f"Write {name} as a string.")
    if not text.strip():
        raise RowRefused("empty_content", reason=f"{name} is empty.", fix="Fill it or leave the row out.")
    return _clean(text, name)


def chat_messages(value: Any) -> tuple[Message, ...]:
    messages = list_of_messages(value, name="messages")
    if not any(message["role"] == "assistant" for message in messages):
        raise RowRefused(
            "no_assistant_turn",
            reason="The row has no assistant turn, so there is nothing to learn from it.",
            fix="Add the answer as a message with the role assistant.",
        )
    return messages


def list_of_messages(value: Any, *, name: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RowRefused("bad_messages", reason=f"{name} is {kind_of(value)}, not a list of messages.", fix=f"Write {SAMPLE}.")
    return tuple(_message(item, place=place) for place, item in enumerate(value, 1))


def _message(value: Any, *, place: int) -> Message:
    if not isinstance(value, dict):
        raise RowRefused("bad_messages", reason=f"Message {place} is {kind_of(value)}, not an object.", fix=f"Write {SAMPLE}.")
    role = value.get("role")
    if role not in ROLES:
        raise RowRefused(
            "wrong_role",
            reason=f"Message {place} has the role {quoted(role)}.",
            fix="Roles are system, user, assistant and tool, in small letters.",
        )
    extras = {name: value[name] for name in MESSAGE_EXTRAS if value.get(name) is not None}
    return {"role": role, "content": _content(value, place=place, calls_tools=bool(extras.get("tool_calls"))), **extras}


def _content(value: dict[str, Any], *, place: int, calls_tools: bool) -> str:
    content = value.get("content")
    if calls_tools and content in (None, ""):
        return ""
    if not isinstance(content, str):
        raise RowRefused(
            "content_not_text",
            reason=f"The content of message {place} is {kind_of(content)}, not a text.",
            fix='Write the content as a string: {"role": "user", "content": "…"}.',
        )
    if not content.strip():
        raise RowRefused("empty_content", reason=f"The content of message {place} is empty.", fix="Fill it or leave the row out.")
    return _clean(content, f"The content of message {place}")


def tools_of(value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise RowRefused("bad_field", reason="tools is not a list of objects.", fix="Write tools as JSON schemas, or leave it out.")
    return tuple(value)


def _clean(text: str, name: str) -> str:
    """Refuses what tokenizers and databases choke on."""
    if "\x00" in text:
        raise RowRefused("bad_text", reason=f"{name} has a NUL character (\\u0000).", fix="Remove it.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowRefused("bad_text", reason=f"{name} has half a surrogate pair (\\ud800 to \\udfff).", fix="Remove it.") from error
    return text


def kind_of(value: Any) -> str:
    if value is None:
        return "missing"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return "an empty list" if value == [] else names.get(type(value), "something else")


def quoted(value: Any) -> str:
    return f"“{value[:40]}”" if isinstance(value, str) else kind_of(value)
