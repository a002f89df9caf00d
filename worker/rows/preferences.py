"""Rows that say which answer is better: a chosen and a rejected one, or one that is marked good or bad.

What was asked may stand apart (`prompt`, `conversations` or `instruction`, as LLaMA-Factory writes them) or be what both answers
begin with. With a system text, or asked as an instruction, texts are turns of a chat; else they stay texts.
"""

from collections.abc import Sequence
from typing import Any

from worker.rows.chats import instruction_turns, with_system
from worker.rows.errors import RowRefused
from worker.rows.fields import list_field, text_field
from worker.rows.notes import Notes
from worker.rows.order import check_order
from worker.rows.places import Turns
from worker.rows.row import Answer, Row
from worker.rows.shown import kind_of, quoted, shown
from worker.rows.tools import tools_of
from worker.rows.turns import Messages, turns_of

PAIR = '{"prompt": "…", "chosen": "the better answer", "rejected": "the worse one"}'
OPENAI_PAIR = '{"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}'
FOLDED = ('[{"role"', '[{"from"', '[{"content"', '{"messages"')
TURNS = (
    "prompt",
    "messages",
    "conversations",
    "chosen",
    "rejected",
    "completion",
    "input",
    "preferred_output",
    "non_preferred_output",
)
LABELS = ("label", "kto_tag")
LABEL_WORDS = {"true": True, "false": False}


def label_of(value: dict[str, Any]) -> bool | None:
    """True or false, also as a word, as CSV files have it; anything else makes no preference."""
    for name in LABELS:
        label = value.get(name)
        if isinstance(label, bool):
            return label
        if isinstance(label, str) and label.strip().lower() in LABEL_WORDS:
            return LABEL_WORDS[label.strip().lower()]
    return None


def is_unpaired(value: dict[str, Any]) -> bool:
    """A label of true or false is what makes an ordinary row one of these."""
    if not any(name in value for name in LABELS) or label_of(value) is None:
        return False
    pairs = (("messages",), ("conversations",), ("prompt", "completion"), ("instruction", "output"))
    return any(all(value.get(name) is not None for name in names) for names in pairs)


def read_preference(value: dict[str, Any], notes: Notes) -> Row:
    for name, other in (("chosen", "rejected"), ("rejected", "chosen")):
        if value.get(name) is None:
            fix = f"Write both: {PAIR}. Single answers need a label, true or false, and are for KTO."
            raise RowRefused("no_answer", reason=f"The row has {other}, but no {name}.", fix=fix, column=name)
    value = _unfolded(value, notes)
    chosen, rejected = _answer(value, "chosen", notes), _answer(value, "rejected", notes)
    _check_differ(chosen, rejected)
    asked_in = next((name for name in ("prompt", "messages", "conversations") if value.get(name) is not None), "")
    asked = value.get(asked_in)
    is_chat = isinstance(asked, list) or "system" in value or (not asked_in and value.get("instruction"))
    if isinstance(chosen, str) and isinstance(rejected, str) and not is_chat:
        return _text_pair(value, chosen, rejected)
    prompt, better, worse = _chat_pair(asked_in, _as_messages(chosen), _as_messages(rejected), value, notes)
    return _pair(
        prompt, better, worse, names=(asked_in or "prompt", "chosen", "rejected"), value=value, tools=tools_of(value, notes)
    )


def read_openai_preference(value: dict[str, Any], notes: Notes) -> Row:
    """OpenAI's `input`, `preferred_output` and `non_preferred_output`."""
    value, names = _unfolded(value, notes), ("preferred_output", "non_preferred_output")
    for name in ("input", *names):
        if value.get(name) is None:
            raise RowRefused("no_answer", reason=f"The row has no {name}.", fix=f"Write {OPENAI_PAIR}.", column=name)
    asked = value["input"]
    if not isinstance(asked, dict):
        reason = f"input is {kind_of(asked)}, not an object with messages."
        raise RowRefused("bad_field", reason=reason, fix=f"Write {OPENAI_PAIR}.", column="input", text=shown(asked))
    better, worse = (_as_messages(_answer(value, name, notes)) for name in names)
    _check_differ(better, worse, names=names)
    prompt = turns_of(asked.get("messages"), name="input.messages", notes=notes)
    tools = tools_of(asked, notes) or tools_of(value, notes)
    return _pair(prompt, better, worse, names=("input.messages", *names), value=value, tools=tools)


def _pair(
    prompt: Messages, better: Messages, worse: Messages, *, names: tuple[str, str, str], value: dict[str, Any], tools: Messages
) -> Row:
    asked_in, *answered_in = names
    for name, answer in zip(answered_in, (better, worse), strict=True):
        _check_answer(answer, name)
        check_order((*prompt, *answer), at=Turns(asked_in, then=name, split=len(prompt)))
    return Row("preference", messages=with_system(prompt, value), tools=tools, chosen=better, rejected=worse)


def read_unpaired(value: dict[str, Any], notes: Notes) -> Row:
    label = label_of(value)
    if label is None:
        given = next((value[name] for name in LABELS if value.get(name) is not None), None)
        reason = f"label is {quoted(given)}, not true or false."
        raise RowRefused("bad_field", reason=reason, fix="Write true for a good answer, false for a bad one.", column="label")
    value = _unfolded(value, notes)
    notes["label_text"] += not any(isinstance(value.get(name), bool) for name in LABELS)
    for name in ("messages", "conversations"):
        if value.get(name) is not None:
            return _marked_conversation(value, name, label, notes)
    answered_in = "completion" if value.get("completion") is not None else "output"
    answer = _answer(value, answered_in, notes)
    if isinstance(value.get("prompt"), str) and isinstance(answer, str) and "system" not in value:
        return Row("unpaired_preference", prompt=text_field(value, "prompt"), answer=answer, label=label)
    asked_in = "prompt" if value.get("prompt") is not None else ""
    prompt, better = _asked(asked_in, value, notes), _as_messages(answer)
    return _marked(prompt, better, names=(asked_in, answered_in), value=value, label=label, notes=notes)


def _marked_conversation(value: dict[str, Any], name: str, label: bool, notes: Notes) -> Row:
    """The last turn is the answer."""
    messages = turns_of(value[name], name=name, notes=notes)
    if len(messages) < 2:
        raise _nothing_asked()
    return _marked(messages[:-1], messages[-1:], names=(name, ""), value=value, label=label, notes=notes)


def _marked(prompt: Messages, answer: Messages, *, names: tuple[str, str], value: dict[str, Any], label: bool, notes: Notes) -> Row:
    asked_in, answered_in = names
    _check_answer(answer, answered_in or "The last message")
    check_order((*prompt, *answer), at=Turns(asked_in or "instruction", then=answered_in, split=len(prompt)))
    prompt, tools = with_system(prompt, value), tools_of(value, notes)
    return Row("unpaired_preference", messages=prompt, tools=tools, answer=answer, label=label)


def _answer(value: dict[str, Any], name: str, notes: Notes) -> Answer:
    """A text, a message or a list of messages."""
    given = value.get(name)
    if isinstance(given, str):
        return text_field(value, name)
    return turns_of(given if isinstance(given, list) else [given], name=name, notes=notes)


def _unfolded(value: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Lists of messages that stand as JSON in a text, as CSV files have them."""
    folded = [name for name, part in value.items() if isinstance(part, str) and part.startswith(FOLDED)]
    return (
        {**value, **{name: list_field(value[name], name=name, notes=notes) for name in folded if name in TURNS}}
        if folded
        else value
    )


def _as_messages(answer: Answer) -> Messages:
    return ({"role": "assistant", "content": answer},) if isinstance(answer, str) else answer


def _text_pair(value: dict[str, Any], chosen: str, rejected: str) -> Row:
    if value.get("prompt") is not None:
        return Row("preference", prompt=text_field(value, "prompt"), chosen=chosen, rejected=rejected)
    shared = chosen[: shared_length(chosen, rejected)]
    shared = shared[:-1] if shared.endswith(" ") else shared  # a space belongs to the word after it, as for tokenizers
    if not shared or shared.isspace():
        raise _nothing_asked()
    better, worse = chosen[len(shared) :], rejected[len(shared) :]
    for name, rest in (("chosen", better), ("rejected", worse)):
        if not rest or rest.isspace():
            reason = f"{name} has nothing beyond what both begin with."
            raise RowRefused("empty_content", reason=reason, fix=f"Write {PAIR}.", column=name, text=shown(value[name]))
    return Row("preference", prompt=shared, chosen=better, rejected=worse)


def shared_length(one: Sequence[Any], *others: Sequence[Any]) -> int:
    """How many items all begin with."""
    for place, items in enumerate(zip(one, *others, strict=False)):
        if any(item != items[0] for item in items):
            return place
    return min(map(len, (one, *others)))


def _chat_pair(
    asked_in: str, chosen: Messages, rejected: Messages, value: dict[str, Any], notes: Notes
) -> tuple[Messages, Messages, Messages]:
    shared = shared_length(chosen, rejected)
    if isinstance(value.get(asked_in), list):
        prompt = _asked(asked_in, value, notes)
        if asked_in == "messages" and shared and prompt[:shared] == chosen[:shared]:  # the better conversation once more
            return chosen[:shared], chosen[shared:], rejected[shared:]
        if chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
            return prompt, chosen[len(prompt) :], rejected[len(prompt) :]
        return prompt, chosen, rejected
    if shared:
        return chosen[:shared], chosen[shared:], rejected[shared:]
    return _asked(asked_in, value, notes), chosen, rejected


def _asked(name: str, value: dict[str, Any], notes: Notes) -> Messages:
    if not name:
        if value.get("instruction") is None:
            raise _nothing_asked()
        return instruction_turns({**value, "system": None})  # the caller puts it there, once
    if isinstance(value[name], str):
        return ({"role": "user", "content": text_field(value, name)},)
    return turns_of(value[name], name=name, notes=notes)


def _check_answer(answer: Messages, name: str) -> None:
    if not answer or answer[-1]["role"] != "assistant":
        reason = f"{name} does not end with an assistant turn."
        raise RowRefused("no_assistant_turn", reason=reason, fix="Answers have the role assistant.", column=name)
    strange = [message["role"] for message in answer if message["role"] not in ("assistant", "tool")]
    if strange:
        fix = "Put everything that both answers share into prompt; an answer holds assistant and tool turns alone."
        reason = f"{name} has a turn of the role {quoted(strange[0])}."
        raise RowRefused("wrong_role", reason=reason, fix=fix, column=name, text=strange[0])


def _check_differ(chosen: Answer, rejected: Answer, *, names: tuple[str, str] = ("chosen", "rejected")) -> None:
    if chosen == rejected:
        fix = "Leave the row out: from two equal answers nothing can be preferred."
        reason = f"{names[0]} and {names[1]} are the same."
        text = shown(chosen if isinstance(chosen, str) else chosen[-1]["content"])
        raise RowRefused("same_answers", reason=reason, fix=fix, column=names[1], text=text)


def _nothing_asked() -> RowRefused:
    fix = f"Write {PAIR}; prompt may be a list of messages."
    reason = f"The row does not say what was asked: prompt is {kind_of(None)}."
    return RowRefused("bad_field", reason=reason, fix=fix, column="prompt")
