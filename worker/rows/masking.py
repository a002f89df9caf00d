"""Which text of a conversation the loss is computed on: the assistant's, each turn's end included, nothing after it.

Two rules, one for all rows of a run: the template's own markers, else where the answers come to stand when the conversation
is rendered (worker/rows/turns.py). Spans here are of characters; worker/rows/placing.py turns them into spans of tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

from worker.contract.dataset import Mask
from worker.rows.errors import RuleFailed
from worker.rows.finding_turns import TurnFinder
from worker.rows.rendering import answer_header, assistant_places, end_of_turn, is_trained, render, template_of
from worker.rows.row import Row
from worker.rows.templates import GENERATION_MARKER, Generated
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokens import Span, merged


@dataclass(frozen=True)
class Marked:
    """The text of a row and the spans of it that are trained."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Turns:
    """What a turn of the assistant begins and ends with, under one chat template."""

    header: str
    end: str


Mark = Callable[[Row], Marked]


@dataclass(frozen=True)
class MaskRule:
    """A way to find the trained text; `words` goes to the log and to the job page."""

    mask: Mask
    words: str
    mark: Mark
    turns: Turns
    takes_split_tokens: bool
    """Whether a token that begins before a span and reaches into it is trained: markers say where the answer begins."""


def chat_rules(tokenizer: RowTokenizer) -> tuple[tuple[Mask, Callable[[], MaskRule]], ...]:
    """The rules for chats, best first. Each raises RuleFailed, when it is made or on a row, when it does not hold."""
    return ("template_markers", lambda: _by_own_markers(tokenizer)), ("turn_by_turn", lambda: _by_turns(tokenizer))


def _by_own_markers(tokenizer: RowTokenizer) -> MaskRule:
    if not GENERATION_MARKER.search(template_of(tokenizer)):
        raise RuleFailed("the chat template has no generation markers")
    turns = Turns(header=answer_header(tokenizer), end=end_of_turn(tokenizer))

    def mark(row: Row) -> Marked:
        generated = Generated()
        text = render(tokenizer, messages=row.messages, tools=row.tools, generated=generated)
        spans = [close_turn(text, span=after_header(text, span=span, turns=turns), turns=turns) for span in merged(generated.spans)]
        if len(spans) != sum(1 for _ in assistant_places(row)):
            raise RuleFailed("the generation markers do not stand around each assistant turn")
        return Marked(text=text, spans=without_untrained(row, spans))

    words = "assistant turns, marked by the chat template's own generation markers"
    return MaskRule("template_markers", words, mark=mark, turns=turns, takes_split_tokens=True)


def after_header(text: str, *, span: Span, turns: Turns) -> Span:
    """The span without the end of the answer's header, which some markers take in (for Qwen often the newline of it)."""
    start, end = span
    length = len(turns.header)
    for place in range(start + 1, min(start + length, end) + 1):
        if place >= length and text.startswith(turns.header, place - length):
            return place, end
    return span


def close_turn(text: str, *, span: Span, turns: Turns) -> Span:
    """The span up to its end-of-turn token: what the markers put after it is cut, a token just left out is taken in."""
    start, end = span
    if text.startswith(turns.end, end):
        return start, end + len(turns.end)
    at = text.rfind(turns.end, start, end)
    if at < 0:
        raise RuleFailed("the generation markers leave out the end-of-turn token")
    return start, at + len(turns.end)


def without_untrained(row: Row, spans: list[Span]) -> tuple[Span, ...]:
    """Spans of turns that have a weight of 0 are not trained."""
    return tuple(span for place, span in zip(assistant_places(row), spans, strict=True) if is_trained(row.messages[place]))


def _by_turns(tokenizer: RowTokenizer) -> MaskRule:
    turns = Turns(header=answer_header(tokenizer), end=end_of_turn(tokenizer))
    finder = TurnFinder(tokenizer, header=turns.header, end=turns.end)

    def mark(row: Row) -> Marked:
        text, spans = finder.find(row)
        return Marked(text=text, spans=without_untrained(row, spans))

    words = "assistant turns, found by where each answer stands in the rendered conversation"
    return MaskRule("turn_by_turn", words, mark=mark, turns=turns, takes_split_tokens=False)
