"""Tools of a row and calls of them, in the one frame that chat templates know, and that calls and results belong together."""

from collections.abc import Sequence
from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.fields import json_in_text, plain_json
from worker.rows.notes import Notes
from worker.rows.places import Turns
from worker.rows.row import Message
from worker.rows.shown import kind_of, shown

CALL = '{"type": "function", "function": {"name": "…", "arguments": {…}}}'


def tools_of(value: dict[str, Any], notes: Notes) -> tuple[Message, ...]:
    """`tools`, or `functions` as OpenAI wrote them before. JSON inside a text is read."""
    name = "tools" if value.get("tools") else "functions"
    given = value.get(name)
    if not given:
        return ()
    if isinstance(given, str):
        if given.isspace():
            return ()
        notes["json_text"] += 1
        given = json_in_text(given, name=name)
    if not isinstance(given, list) or not all(isinstance(tool, dict) for tool in given):
        fix = "Write tools as a list of JSON schemas, or leave it out."
        raise RowRefused("bad_field", reason=f"{name} is not a list of objects.", fix=fix, column=name, text=shown(given))
    return tuple([_framed(tool, notes=notes) for tool in plain_json(given, name=name)])


def _framed(tool: dict[str, Any], *, notes: Notes) -> Message:
    if "name" in tool and "function" not in tool:
        notes["bare_tools"] += 1
        return {"type": "function", "function": {key: part for key, part in tool.items() if key != "type"}}
    return tool


def calls_of(value: Any, *, column: str) -> list[Message]:
    """tool_calls with their arguments as objects: templates write these as JSON, and would quote a text once more."""
    if not isinstance(value, list):
        raise _bad_call(f"{column} is {kind_of(value)}, not a list of calls.", value, column=column)
    return plain_json([_call(item, column=f"{column}[{place}]") for place, item in enumerate(value)], name=column)  # type: ignore[no-any-return]


def _call(value: Any, *, column: str) -> Message:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise _bad_call("A tool call has no name.", value, column=column)
    identity = {"id": str(value["id"])} if value.get("id") is not None else {}
    arguments = arguments_of(function.get("arguments"), column=f"{column}.function.arguments")
    return {**identity, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def arguments_of(value: Any, *, column: str) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        value = json_in_text(value, name=column)
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise _bad_call(f"The arguments of a tool call are {kind_of(value)}, not an object.", value, column=column)
    return value


def _bad_call(reason: str, value: Any, *, column: str) -> RowRefused:
    return RowRefused("bad_tool_call", reason=reason, fix=f"Write each call as {CALL}.", column=column, text=shown(value))


def check_calls(messages: Sequence[Message], *, at: Turns) -> None:
    """Each result answers a call, each call has its result; only the last turn may call without: calling is what it teaches."""
    open_calls: list[str | None] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            _close(open_calls, message, place=place, column=at(place))
        elif open_calls:
            raise _unanswered(messages, place=place, at=at)
        elif "tool_calls" in message:
            open_calls = [call.get("id") for call in message["tool_calls"]]
    if open_calls and "tool_calls" not in messages[-1]:
        raise _unanswered(messages, place=len(messages), at=at)


def _close(open_calls: list[str | None], message: Message, *, place: int, column: str) -> None:
    if not open_calls:
        reason = f"Message {place + 1} is the result of a tool, but no call stands before it."
        fix = "Add the assistant's turn with tool_calls, or leave the result out."
        raise RowRefused("bad_tool_call", reason=reason, fix=fix, column=column, text=shown(message["content"]))
    wanted = message.get("tool_call_id")
    if wanted is None or not any(open_calls):
        open_calls.pop(0)
    elif wanted in open_calls:
        open_calls.remove(wanted)
    else:
        reason = f"Message {place + 1} answers the call {shown(wanted)}, which the turn before it does not make."
        fix = "Give tool_call_id the id of a call just before it."
        raise RowRefused("bad_tool_call", reason=reason, fix=fix, column=f"{column}.tool_call_id", text=shown(wanted))


def _unanswered(messages: Sequence[Message], *, place: int, at: Turns) -> RowRefused:
    caller = max(at for at, message in enumerate(messages[:place]) if "tool_calls" in message)
    return RowRefused(
        "bad_tool_call",
        reason=f"Message {caller + 1} calls a tool, but not every call has its result after it.",
        fix="Add a message with the role tool after it, one for each call; only the last turn may call without a result.",
        column=f"{at(caller)}.tool_calls",
        text=shown(messages[caller]["tool_calls"]),
    )
