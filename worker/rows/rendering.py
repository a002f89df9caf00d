"""A conversation as the text that the model sees: what the chat template is given, and what it says about turns."""

from collections.abc import Iterator, Sequence
from typing import Any

from worker.rows.errors import RuleFailed
from worker.rows.row import Message, Row
from worker.rows.templates import Generated, write
from worker.rows.tokenizer import RowTokenizer

PROBE = ({"role": "user", "content": "Question"}, {"role": "assistant", "content": "Answer"})
REASONING = ("reasoning_content", "thinking", "reasoning")  # names of the same thing; templates know one or the other
NOT_SHOWN = "weight"  # says how a turn is trained on; no template is to write it


def render(
    tokenizer: RowTokenizer,
    *,
    messages: Sequence[Message],
    tools: Sequence[Message] = (),
    asks: bool = False,
    generated: Generated | None = None,
) -> str:
    """`asks` adds the header of the answer to come. Raises RuleFailed when the template does not take the messages."""
    source = template_of(tokenizer)
    variables = {
        **tokenizer.named,
        "messages": [_shown(message) for message in messages],
        "tools": list(tools) or None,
        "documents": None,
        "add_generation_prompt": asks,
    }
    return write(source, variables=variables, generated=generated)


def template_of(tokenizer: RowTokenizer) -> str:
    if not tokenizer.chat_template:
        raise RuleFailed("the model has no chat template")
    return tokenizer.chat_template


def _shown(message: Message) -> Message:
    shown = {name: value for name, value in message.items() if value is not None and name != NOT_SHOWN}
    if len(shown) == 2:  # role and content
        return shown
    reasoning = next((shown[name] for name in REASONING if name in shown), None)
    return shown if reasoning is None else {"thinking": reasoning, **shown, "reasoning_content": reasoning}


def end_of_turn(tokenizer: RowTokenizer) -> str:
    """The token that ends an assistant's turn: the first special one after the answer, in a probe."""
    text = render(tokenizer, messages=PROBE)
    tail = text[text.rfind("Answer") + len("Answer") :]
    places = {token: tail.find(token) for token in tokenizer.special_tokens if token in tail}
    if not places:
        raise RuleFailed("the chat template ends a turn without a special token, so the model could not learn to stop")
    return min(places, key=lambda token: (places[token], -len(token)))


def answer_header(tokenizer: RowTokenizer) -> str:
    """What stands between a question and its answer, <|im_start|>assistant for one; empty if a template has nothing there."""
    before, asked = render(tokenizer, messages=PROBE[:1]), render(tokenizer, messages=PROBE[:1], asks=True)
    return asked[len(before) :] if asked.startswith(before) else ""


def assistant_places(row: Row) -> Iterator[int]:
    return (place for place, message in enumerate(row.messages) if message["role"] == "assistant")


def is_trained(message: Message) -> bool:
    """OpenAI's `weight`: a turn of weight 0 is shown and not learned."""
    weight: Any = message.get("weight")
    return weight is None or bool(weight)
