"""Rows that say which answer is better: a chosen and a rejected one, or one that is marked good or bad.

What was asked may stand apart (`prompt`, or `conversations` as LLaMA-Factory writes it) or be what both answers begin with.
"""

from collections.abc import Sequence
from typing import Any

from worker.rows.errors import RowRefused
from worker.rows.fields import kind_of, list_of_messages, quoted, text_field, tools_of
from worker.rows.row import Answer, Message, Row

PAIR = '{"prompt": "…", "chosen": "the better answer", "rejected": "the worse one"}'
LABELS = ("label", "kto_tag")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "observation": "tool"}
Messages = tuple[Message, ...]


def is_preference(value: dict[str, Any]) -> bool:
    return "chosen" in value or "rejected" in value


def is_unpaired(value: dict[str, Any]) -> bool:
    """A label of true or false is what makes an ordinary row one of these."""
    has_answer = "messages" in value or ("prompt" in value and "completion" in value)
    return has_answer and any(isinstance(value.get(name), bool) for name in LABELS)


def read_preference(value: dict[str, Any]) -> Row:
    for name, other in (("chosen", "rejected"), ("rejected", "chosen")):
        if value.get(name) is None:
            fix = f"Write both: {PAIR}. Single answers need a label, true or false, and are for KTO."
            raise RowRefused("no_answer", reason=f"The row has {other}, but no {name}.", fix=fix)
    chosen, rejected = _answer(value, "chosen"), _answer(value, "rejected")
    _check_differ(chosen, rejected)
    asked = next((value[name] for name in ("prompt", "messages", "conversations") if value.get(name) is not None), None)
    tools = tools_of(value.get("tools"))
    if isinstance(chosen, str) and isinstance(rejected, str) and not isinstance(asked, list):
        return _text_pair(value, chosen, rejected)
    messages, better, worse = _chat_pair(asked, _as_messages(chosen), _as_messages(rejected), value)
    _check_answer(better, "chosen")
    _check_answer(worse, "rejected")
    return Row(format="preference", messages=messages, tools=tools, chosen=better, rejected=worse)


def read_unpaired(value: dict[str, Any]) -> Row:
    label = next(value[name] for name in LABELS if isinstance(value.get(name), bool))
    tools = tools_of(value.get("tools"))
    if "messages" in value:  # the last turn is the answer
        messages = list_of_messages(_in_our_names(value["messages"]), name="messages")
        prompt, answer = messages[:-1], messages[-1:]
        if not prompt:
            raise _nothing_asked()
        _check_answer(answer, "The last message")
        return Row(format="unpaired_preference", messages=prompt, tools=tools, answer=answer, label=label)
    if isinstance(value["prompt"], str) and isinstance(value["completion"], str):
        prompt_text, completion = text_field(value, "prompt"), text_field(value, "completion")
        return Row(format="unpaired_preference", prompt=prompt_text, answer=completion, label=label)
    prompt, answer = _asked(value["prompt"], value), _as_messages(_answer(value, "completion"))
    _check_answer(answer, "completion")
    return Row(format="unpaired_preference", messages=prompt, tools=tools, answer=answer, label=label)


def _answer(value: dict[str, Any], name: str) -> Answer:
    """A text, a message or a list of messages."""
    given = value[name]
    if isinstance(given, str):
        return text_field(value, name)
    return list_of_messages(_in_our_names(given if isinstance(given, list) else [given]), name=name)


def _in_our_names(value: Any) -> Any:
    """ShareGPT's from and value as role and content; everything else as it is."""
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _renamed(item: Any) -> Any:
    if not isinstance(item, dict) or "role" in item or "from" not in item:
        return item
    return {"role": SHAREGPT_ROLES.get(str(item["from"]), item["from"]), "content": item.get("value")}


def _as_messages(answer: Answer) -> Messages:
    return ({"role": "assistant", "content": answer},) if isinstance(answer, str) else answer


def _text_pair(value: dict[str, Any], chosen: str, rejected: str) -> Row:
    if value.get("prompt") is not None:
        return Row(format="preference", prompt=text_field(value, "prompt"), chosen=chosen, rejected=rejected)
    shared = chosen[: shared_length(chosen, rejected)]
    shared = shared[:-1] if shared.endswith(" ") else shared  # a space belongs to the word after it, as for tokenizers
    if not shared.strip():
        raise _nothing_asked()
    better, worse = chosen[len(shared) :], rejected[len(shared) :]
    for name, rest in (("chosen", better), ("rejected", worse)):
        if not rest.strip():
            raise RowRefused("empty_content", reason=f"{name} has nothing beyond what both begin with.", fix=f"Write {PAIR}.")
    return Row(format="preference", prompt=shared, chosen=better, rejected=worse)


def shared_length(one: Sequence[Any], *others: Sequence[Any]) -> int:
    """How many items all begin with."""
    for place, items in enumerate(zip(one, *others, strict=False)):
        if any(item != items[0] for item in items):
            return place
    return min(map(len, (one, *others)))


def _chat_pair(asked: Any, chosen: Messages, rejected: Messages, value: dict[str, Any]) -> tuple[Messages, Messages, Messages]:
    shared = shared_length(chosen, rejected)
    if isinstance(asked, list):
        prompt = _asked(asked, value)
        if chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
            return prompt, chosen[len(prompt) :], rejected[len(prompt) :]
        return prompt, chosen, rejected
    if shared:
        return chosen[:shared], chosen[shared:], rejected[shared:]
    if asked is None:
        raise _nothing_asked()
    return _asked(asked, value), chosen, rejected


def _asked(value: Any, row: dict[str, Any]) -> Messages:
    if isinstance(value, str):
        return ({"role": "user", "content": text_field(row, "prompt")},)
    return list_of_messages(_in_our_names(value), name="prompt")


def _check_answer(answer: Messages, name: str) -> None:
    if not answer or answer[-1]["role"] != "assistant":
        raise RowRefused(
            "no_assistant_turn", reason=f"{name} does not end with an assistant turn.", fix="Answers have the role assistant."
        )
    strange = [message["role"] for message in answer if message["role"] not in ("assistant", "tool")]
    if strange:
        fix = "Put everything that both answers share into prompt; an answer holds assistant and tool turns alone."
        raise RowRefused("wrong_role", reason=f"{name} has a turn of the role {quoted(strange[0])}.", fix=fix)


def _check_differ(chosen: Answer, rejected: Answer) -> None:
    if chosen == rejected:
        fix = "Leave the row out: from two equal answers nothing can be preferred."
        raise RowRefused("same_answers", reason="chosen and rejected are the same.", fix=fix)


def _nothing_asked() -> RowRefused:
    fix = f"Write {PAIR}; prompt may be a list of messages."
    return RowRefused("bad_field", reason=f"The row does not say what was asked: prompt is {kind_of(None)}.", fix=fix)
