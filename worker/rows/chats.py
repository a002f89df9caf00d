"""Rows that are conversations: OpenAI's messages, ShareGPT's conversations, Alpaca's columns, prompts and completions as turns."""

from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.fields import optional_text, text_field
from worker.rows.notes import Notes
from worker.rows.order import check_order
from worker.rows.places import Turns
from worker.rows.row import Message, Row
from worker.rows.shown import kind_of, shown
from worker.rows.tools import tools_of
from worker.rows.turns import Messages, turns_of

MESSAGES, CONVERSATIONS = Turns("messages"), Turns("conversations")
HISTORY = '[["first question", "first answer"]]'


def read_messages(value: dict[str, Any], notes: Notes) -> Row:
    return _read_turns(value, MESSAGES, notes)


def read_sharegpt(value: dict[str, Any], notes: Notes) -> Row:
    return _read_turns(value, CONVERSATIONS, notes)


def _read_turns(value: dict[str, Any], at: Turns, notes: Notes) -> Row:
    messages = turns_of(value.get(at.name), name=at.name, notes=notes)
    check_order(messages, at=at, must_answer=True)
    if len(value) == 1:
        return Row("messages", messages=messages)
    return Row("messages", messages=with_system(messages, value), tools=tools_of(value, notes))


def with_system(messages: Messages, value: dict[str, Any]) -> Messages:
    """The column `system` as the first turn."""
    if not value.get("system") or not (system := optional_text(value, "system")):
        return messages
    if messages[0]["role"] != "system":
        return ({"role": "system", "content": system}, *messages)
    if messages[0]["content"] == system:
        return messages
    reason = "The row has a system message, and another text in the column system."
    raise RowRefused("role_order", reason=reason, fix="Keep one of them.", column="system", text=shown(system))


def read_alpaca(value: dict[str, Any], notes: Notes) -> Row:
    asked = instruction_turns(value)
    return Row("messages", messages=(*asked, {"role": "assistant", "content": text_field(value, "output")}))


def instruction_turns(value: dict[str, Any]) -> Messages:
    """System text, history, and the instruction with its input under it, as LLaMA-Factory joins them."""
    question = "\n".join(filter(None, (optional_text(value, "instruction"), optional_text(value, "input"))))
    if not question:
        fix = "Fill it or leave the row out."
        raise RowRefused("empty_content", reason="instruction is empty.", fix=fix, column="instruction")
    return with_system((*_history(value.get("history")), {"role": "user", "content": question}), value)


def _history(value: Any) -> Messages:
    if value in (None, "", []):
        return ()
    pairs = value if isinstance(value, list) else [value]
    turns: list[Message] = []
    for place, pair in enumerate(pairs):
        column = f"history[{place}]"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            reason = f"{column} is {kind_of(pair)}, not a pair of question and answer."
            raise RowRefused("bad_field", reason=reason, fix=f"Write history as {HISTORY}.", column=column, text=shown(pair))
        question, answer = ({column: part} for part in pair)
        turns += (
            {"role": "user", "content": text_field(question, column)},
            {"role": "assistant", "content": text_field(answer, column)},
        )
    return tuple(turns)


def read_prompt_turns(value: dict[str, Any], notes: Notes) -> Row:
    """Prompt and completion as lists of messages. What the assistant says in the prompt is read, not learned."""
    asked = tuple(
        {**message, "weight": 0} if message["role"] == "assistant" else message
        for message in turns_of(value.get("prompt"), name="prompt", notes=notes)
    )
    completion = value.get("completion")
    if isinstance(completion, str):
        answer: Messages = ({"role": "assistant", "content": text_field(value, "completion")},)
    else:
        answer = turns_of(completion, name="completion", notes=notes)
    messages = (*asked, *answer)
    check_order(messages, at=Turns("prompt", then="completion", split=len(asked)), must_answer=True)
    return Row("messages", messages=with_system(messages, value), tools=tools_of(value, notes))
