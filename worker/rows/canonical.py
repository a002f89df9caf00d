"""A row as the rows file keeps it: JSON in TRL's names, the same bytes for the same row whatever file it came from."""

from typing import Any

from worker.contract.dataset import RowFormat
from worker.rows.row import Answer, Message, Row


def as_canonical(row: Row) -> dict[str, Any]:
    """Keys in one order, none that is empty: equal rows give equal bytes."""
    if row.format == "messages":
        return {"messages": row.messages, "tools": row.tools} if row.tools else {"messages": row.messages}
    if row.format == "prompt_completion":
        return {"prompt": row.prompt, "completion": row.completion}
    if row.format == "text":
        return {"text": row.text}
    asked: Any = row.messages or row.prompt
    tools = {"tools": row.tools} if row.tools else {}
    if row.format == "preference":
        return {"prompt": asked, "chosen": row.chosen, "rejected": row.rejected, **tools}
    return {"prompt": asked, "completion": row.answer, "label": row.label, **tools}


def from_canonical(value: dict[str, Any], *, format: RowFormat) -> Row:
    """What as_canonical wrote. It is not checked again: only the rows file holds it."""
    tools = tuple(value.get("tools") or ())
    if format == "messages":
        return Row(format, messages=tuple(value["messages"]), tools=tools)
    if format == "prompt_completion":
        return Row(format, prompt=value["prompt"], completion=value["completion"])
    if format == "text":
        return Row(format, text=value["text"])
    messages, prompt = _asked(value["prompt"])
    if format == "preference":
        chosen, rejected = _answer(value["chosen"]), _answer(value["rejected"])
        return Row(format, messages=messages, prompt=prompt, tools=tools, chosen=chosen, rejected=rejected)
    return Row(format, messages=messages, prompt=prompt, tools=tools, answer=_answer(value["completion"]), label=value["label"])


def asked_of(row: Row) -> Any:
    """Everything before the last answer: two rows that ask the same belong on one side of a split."""
    if row.format == "messages":
        if row.messages and row.messages[-1]["role"] == "assistant":
            return row.messages[:-1]
        last = max((place for place, message in enumerate(row.messages) if message["role"] == "assistant"), default=0)
        return row.messages[:last]
    return row.messages or row.prompt or row.text


def _asked(value: Any) -> tuple[tuple[Message, ...], str]:
    return ((), value) if isinstance(value, str) else (tuple(value), "")


def _answer(value: Any) -> Answer:
    return value if isinstance(value, str) else tuple(value)
