"""Which tokens of a conversation the loss is computed on: the assistant's, each turn's end included, nothing after it.

Three rules in this order, and one for all rows of a run: the template's own markers; TRL's training template for it,
if it renders the same text; the conversation rendered turn by turn, each turn checked to stand in the whole.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.contract.dataset import Mask
from worker.rows.errors import RuleFailed
from worker.rows.rendering import answer_header, end_of_turn, render, render_with_markers
from worker.rows.shapes import Row
from worker.rows.tokenizer import Tokenizer, special_tokens

IGNORED = -100  # the label that torch's cross entropy leaves out
GENERATION_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Tokens:
    """A row as the trainer eats it; a label is the token itself or IGNORED."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """Tokens with a loss. The first one never has: nothing stands before it to predict it from."""
        return sum(label != IGNORED for label in self.labels[1:])


MaskRow = Callable[[Row], Tokens]


@dataclass(frozen=True)
class MaskRule:
    """A way to find the trained tokens; `words` goes to the log and to the job page."""

    mask: Mask
    words: str
    prepare: Callable[[], MaskRow]


def chat_rules(tokenizer: Tokenizer, *, trl_template: str | None) -> tuple[MaskRule, ...]:
    """The rules for chats, best first. Each raises RuleFailed, in prepare or on a row, when it does not hold."""
    return (
        MaskRule(
            "template_markers",
            "assistant turns, marked by the chat template's own generation markers",
            lambda: _by_own_markers(tokenizer),
        ),
        MaskRule(
            "trl_template",
            "assistant turns, marked by TRL's training template, which renders the same text as the model's own",
            lambda: _by_trl_template(tokenizer, trl_template=trl_template),
        ),
        MaskRule(
            "turn_by_turn",
            "assistant turns, found by rendering each conversation turn by turn",
            lambda: _by_turns(tokenizer),
        ),
    )


def _by_own_markers(tokenizer: Tokenizer) -> MaskRow:
    template = tokenizer.chat_template
    if not isinstance(template, str) or not GENERATION_MARKER.search(template):
        raise RuleFailed("the chat template has no generation markers")
    return _by_markers(tokenizer, chat_template=None)


def _by_trl_template(tokenizer: Tokenizer, *, trl_template: str | None) -> MaskRow:
    if trl_template is None:
        raise RuleFailed("TRL has no training template for this chat template")
    mask_marked = _by_markers(tokenizer, chat_template=trl_template)

    def mask_row(row: Row) -> Tokens:
        if render(tokenizer, row=row) != render(tokenizer, row=row, chat_template=trl_template):
            raise RuleFailed("TRL's training template renders another text than the model's own chat template")
        return mask_marked(row)

    return mask_row


def _by_markers(tokenizer: Tokenizer, *, chat_template: str | None) -> MaskRow:
    _need_offsets(tokenizer)
    end_id = special_tokens(tokenizer)[end_of_turn(tokenizer)]
    header = list(tokenizer(answer_header(tokenizer), add_special_tokens=False)["input_ids"])

    def mask_row(row: Row) -> Tokens:
        ids, marked = render_with_markers(tokenizer, row=row, chat_template=chat_template)
        spans = [close_turn(ids, span=after_header(ids, span=span, header=header), end_id=end_id) for span in _runs(marked)]
        if len(spans) != sum(message["role"] == "assistant" for message in row.messages):
            raise RuleFailed("the generation markers do not stand around each assistant turn")
        return _label(ids, spans=spans)

    return mask_row


def _runs(marked: Sequence[int]) -> list[tuple[int, int]]:
    """Start and end of each unbroken run of ones."""
    edges = [place for place in range(len(marked) + 1) if _at(marked, place) != _at(marked, place - 1)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at(marked: Sequence[int], place: int) -> int:
    return int(bool(marked[place])) if 0 <= place < len(marked) else 0


def after_header(ids: Sequence[int], *, span: tuple[int, int], header: Sequence[int]) -> tuple[int, int]:
    """The span without the end of the answer's header, which some markers take in (TRL's for Qwen the newline of it)."""
    start, end = span
    for place in range(start + 1, min(start + len(header), end) + 1):
        if place >= len(header) and list(ids[place - len(header) : place]) == list(header):
            return place, end
    return span


def close_turn(ids: Sequence[int], *, span: tuple[int, int], end_id: int) -> tuple[int, int]:
    """The span up to its end-of-turn token: what the markers put after it is cut, a token just left out is taken in."""
    start, end = span
    if end < len(ids) and ids[end] == end_id:
        return start, end + 1
    inside = [place for place in range(start, end) if ids[place] == end_id]
    if not inside:
        raise RuleFailed("the generation markers leave out the end-of-turn token")
    return start, inside[-1] + 1


def _by_turns(tokenizer: Tokenizer) -> MaskRow:
    _need_offsets(tokenizer)
    end = end_of_turn(tokenizer)

    def mask_row(row: Row) -> Tokens:
        whole = render(tokenizer, row=row)
        spans = [
            _turn_span(tokenizer, row=row, place=place, whole=whole, end=end)
            for place, message in enumerate(row.messages)
            if message["role"] == "assistant"
        ]
        encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        return _label_text(list(encoded["input_ids"]), offsets=encoded["offset_mapping"], spans=spans)

    return mask_row


def _turn_span(tokenizer: Tokenizer, *, row: Row, place: int, whole: str, end: str) -> tuple[int, int]:
    """Where the turn stands in the whole text, from the first character after its header to its end-of-turn token."""
    through = render(tokenizer, row=row, upto=place + 1)
    start = _turn_start(tokenizer, row=row, place=place, through=through)
    content = str(row.messages[place]["content"]).strip()
    content_at = through.find(content, start)
    if content_at < 0:
        raise RuleFailed("the chat template changes what the assistant says")
    end_at = through.find(end, content_at + len(content)) if content else through.rfind(end)
    if end_at < start:
        raise RuleFailed("a turn has no end-of-turn token")
    stop = end_at + len(end)
    if not whole.startswith(through[:stop]):
        raise RuleFailed("the chat template renders a turn differently once another one follows")
    return start, stop


def _turn_start(tokenizer: Tokenizer, *, row: Row, place: int, through: str) -> int:
    content = str(row.messages[place]["content"]).strip()
    if place == 0:  # nothing to ask after: most templates cannot render an empty conversation
        return max(through.find(content), 0)
    before = render(tokenizer, row=row, upto=place)
    asked = render(tokenizer, row=row, upto=place, asks=True)
    if asked == before:  # a template without a header for answers
        return max(through.find(content, len(before)), 0)
    if not through.startswith(asked):
        raise RuleFailed("the chat template renders an answer differently from the question that asks for it")
    return len(asked)


def _need_offsets(tokenizer: Tokenizer) -> None:
    if not tokenizer.is_fast:
        raise RuleFailed("the tokenizer cannot say where in the text a token stands (it is not a fast one)")


def _label(ids: list[int], *, spans: Sequence[tuple[int, int]]) -> Tokens:
    labels = [IGNORED] * len(ids)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    return Tokens(input_ids=ids, labels=labels)


def _label_text(ids: list[int], *, offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> Tokens:
    """Trains the tokens that begin inside a span: one that begins before it is partly the question's."""
    labels = [IGNORED] * len(ids)
    for place, (begin, finish) in enumerate(offsets):
        if begin < finish and any(start <= begin < end for start, end in spans):
            labels[place] = ids[place]
    return Tokens(input_ids=ids, labels=labels)
