"""A conversation as the text that the model sees: the chat template's work, with its complaints made readable."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from worker.rows.errors import RuleFailed
from worker.rows.shapes import Row
from worker.rows.tokenizer import Tokenizer, special_tokens

PROBE = ({"role": "user", "content": "Question"}, {"role": "assistant", "content": "Answer"})


def render(tokenizer: Tokenizer, *, row: Row, upto: int | None = None, asks: bool = False, chat_template: str | None = None) -> str:
    """The text of the first `upto` messages (all by default); `asks` adds the header of the answer to come."""
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": asks, "chat_template": chat_template}
    return str(_apply(tokenizer, messages=row.messages[:upto], row=row, options=options))


def render_with_markers(tokenizer: Tokenizer, *, row: Row, chat_template: str | None = None) -> tuple[list[int], list[int]]:
    """Token ids and, for each, whether it stands between the template's generation markers."""
    options = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True, "chat_template": chat_template}
    rendered = _apply(tokenizer, messages=row.messages, row=row, options=options)
    return list(rendered["input_ids"]), list(rendered["assistant_masks"])


def tokens_of_chat(
    tokenizer: Tokenizer, *, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], asks: bool = False
) -> list[int]:
    """Token ids of a conversation; `asks` adds the header of the answer to come."""
    row = Row(format="messages", tools=tuple(tools))
    options = {"tokenize": True, "return_dict": True, "add_generation_prompt": asks}
    return list(_apply(tokenizer, messages=messages, row=row, options=options)["input_ids"])


def _apply(tokenizer: Tokenizer, *, messages: Sequence[dict[str, Any]], row: Row, options: dict[str, Any]) -> Any:
    try:
        return tokenizer.apply_chat_template(list(messages), tools=list(row.tools) or None, **options)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise RuleFailed(f"the chat template does not accept the row: {error}") from error


def end_of_turn(tokenizer: Tokenizer) -> str:
    """The token that ends an assistant's turn: the first special one after the answer, in a probe."""
    text = render(tokenizer, row=Row(format="messages", messages=PROBE))
    tail = text[text.rfind("Answer") + len("Answer") :]
    places = {token: tail.find(token) for token in special_tokens(tokenizer) if token in tail}
    if not places:
        raise RuleFailed("the chat template ends a turn without a special token, so the model could not learn to stop")
    return min(places, key=lambda token: places[token])


def answer_header(tokenizer: Tokenizer) -> str:
    """What stands between a question and its answer, <|im_start|>assistant for one; empty if a template has nothing there."""
    question = Row(format="messages", messages=PROBE[:1])
    before, asked = render(tokenizer, row=question), render(tokenizer, row=question, asks=True)
    return asked[len(before) :] if asked.startswith(before) else ""
