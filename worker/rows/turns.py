"""Lists of messages: OpenAI's role and content, ShareGPT's from and value, and what makes a turn unusable."""

from typing import Any

from worker.rows.content import text_of
from worker.rows.errors import RowRefused
from worker.rows.fields import SAMPLE, is_clean, json_in_text, list_field
from worker.rows.notes import Notes
from worker.rows.row import Message
from worker.rows.shown import kind_of, quoted, shown
from worker.rows.tools import calls_of
from worker.rows.weights import weight_of

Messages = tuple[Message, ...]
ROLES = ("system", "user", "assistant", "tool")
SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}
OTHER_NAMES = {"bot": "assistant", "ai": "assistant", "model": "assistant", "chatbot": "assistant", "bing": "assistant"}
MEANT = {**SHAREGPT_ROLES, **OTHER_NAMES, "developer": "system", "function": "tool"}
TEXTS = ("name", "reasoning_content", "thinking")


def turns_of(value: Any, *, name: str, notes: Notes) -> Messages:
    """The messages in our names, without a look at their order."""
    if value.__class__ is not list:
        value = list_field(value, name=name, notes=notes)
    if not isinstance(value, list) or not value:
        reason = f"{name} is {kind_of(value)}, not a list of messages."
        raise RowRefused("bad_messages", reason=reason, fix=f"Write {SAMPLE}.", column=name, text=shown(value) if value else "")
    return tuple([_turn(item, place, name, notes) for place, item in enumerate(value)])


def _turn(item: Any, place: int, name: str, notes: Notes) -> Message:
    """Positional for speed: a call for each of ten million messages. Most are a known role and a plain text."""
    if item.__class__ is dict and len(item) == 2:
        role, content = item.get("role"), item.get("content")
        if role is None and item.get("from").__class__ is str:
            role, content = SHAREGPT_ROLES.get(item["from"]), item.get("value")
        if content.__class__ is str and role in ROLES and is_clean(content):
            return {"role": role, "content": content}
    return _any_turn(item, place=place, name=name, notes=notes)


def _any_turn(item: Any, *, place: int, name: str, notes: Notes) -> Message:
    column = f"{name}[{place}]"
    if not isinstance(item, dict):
        reason = f"Message {place + 1} is {kind_of(item)}, not an object."
        raise RowRefused("bad_messages", reason=reason, fix=f"Write {SAMPLE}.", column=column, text=shown(item))
    if "from" in item and "role" not in item:
        item = _from_sharegpt(item, place=place, column=column)
    role = _role(item.get("role"), place=place, column=f"{column}.role", notes=notes)
    extras = _extras(item, role=role, place=place, column=column, notes=notes)
    subject = f"message {place + 1}"
    may_be_empty = role == "tool" or "tool_calls" in extras
    return {
        "role": role,
        "content": text_of(
            item.get("content"), subject=subject, column=f"{column}.content", may_be_empty=may_be_empty, notes=notes
        ),
        **extras,
    }


def _from_sharegpt(item: dict[str, Any], *, place: int, column: str) -> dict[str, Any]:
    """ShareGPT's names as OpenAI's; a function_call is JSON inside the value."""
    source, value = item["from"], item.get("value")
    rest = {key: part for key, part in item.items() if key not in ("from", "value")}
    if source == "function_call":
        calls = json_in_text(value, name=f"{column}.value") if isinstance(value, str) else value
        return {**rest, "role": "assistant", "content": None, "tool_calls": [calls] if isinstance(calls, dict) else calls}
    role = SHAREGPT_ROLES.get(source) if isinstance(source, str) else None
    if role is None:
        raise _wrong_role(source, place=place, column=f"{column}.from", known="human, gpt, system, observation and function_call")
    return {**rest, "role": role, "content": value}


def _role(role: Any, *, place: int, column: str, notes: Notes) -> str:
    if role in ROLES:
        return str(role)
    if role == "developer":
        notes["developer"] += 1
        return "system"
    if role == "function":
        notes["old_calls"] += 1
        return "tool"
    raise _wrong_role(role, place=place, column=column, known="system, user, assistant and tool, in small letters")


def _wrong_role(role: Any, *, place: int, column: str, known: str) -> RowRefused:
    meant = MEANT.get(role.strip().lower()) if isinstance(role, str) else None
    is_sharegpt = column.endswith(".from")
    return RowRefused(
        "wrong_role",
        reason=f"Message {place + 1} has the role {quoted(role)}.",
        fix=f"Write {meant} instead of {role}." if meant and not is_sharegpt else f"Roles are {known}.",
        column=column,
        text="" if role is None else shown(role),
    )


def _extras(item: dict[str, Any], *, role: str, place: int, column: str, notes: Notes) -> Message:
    """What a turn has beside role and content, in one order."""
    found: Message = {}
    for key in TEXTS:
        if item.get(key) not in (None, ""):
            found[key] = text_of(
                item[key], subject=f"message {place + 1}", column=f"{column}.{key}", may_be_empty=True, notes=notes
            )
    if role == "assistant":
        if item.get("tool_calls"):
            found["tool_calls"] = calls_of(item["tool_calls"], column=f"{column}.tool_calls")
        elif item.get("function_call"):
            notes["old_calls"] += 1
            found["tool_calls"] = calls_of([item["function_call"]], column=f"{column}.function_call")
    elif role == "tool" and item.get("tool_call_id") is not None:
        found["tool_call_id"] = str(item["tool_call_id"])
    if weight_of(item.get("weight"), role=role, place=place, column=f"{column}.weight") == 0:
        found["weight"] = 0
    return found
