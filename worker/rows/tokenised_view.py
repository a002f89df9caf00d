"""Rows as the model sees them, token by token: which piece of text each is, whose words, and whether it is trained."""

from collections.abc import Sequence
from pathlib import Path

import orjson

from worker.contract.token_tasks import Piece, RenderedRow, RenderedSequence, RenderReport, RenderTask
from worker.rows.canonical import from_canonical
from worker.rows.errors import NoMaskRule, TokenizerUnusable
from worker.rows.pairing import WORDS, answered_rows, answers_of
from worker.rows.rendering import render
from worker.rows.row import Answer, Message, Row
from worker.rows.statistics import PREFERENCES, tokenizer_of
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokenizing import RowRule, by_first_rule, rules_for, tokenise_all
from worker.rows.tokens import Span, Tokens

MOST_BEFORE = 4  # special tokens that a tokenizer puts before a text
Words = Sequence[tuple[str, str]]
"""Whose they are, and what they are, in the order in which they stand in the text."""


def render_rows(task: RenderTask, *, folder: Path) -> RenderReport:
    rows = [from_canonical(orjson.loads(row), format=task.format) for row in task.rows]
    try:
        tokenizer = tokenizer_of(task, folder=folder)
        if task.format in PREFERENCES:
            numbers = task.numbers or range(1, len(rows) + 1)
            shown = tuple(_tried(row, number, tokenizer, task.most_pieces) for row, number in zip(rows, numbers, strict=True))
            return RenderReport(mask="completion", mask_words=WORDS, rows=shown)
        rules = rules_for(task.format, tokenizer=tokenizer, train_on=task.train_on)
        wanted = tuple(rule for rule in rules if task.mask in (None, rule[0])) or rules
        rule, tokens = by_first_rule(
            wanted, lambda rule: [row for batch in tokenise_all(rows, rule=rule, numbers=task.numbers) for row in batch]
        )
    except (NoMaskRule, TokenizerUnusable) as refused:
        return RenderReport(refusal=str(refused)[:2000])
    shown = tuple(_row(row, each, tokenizer, task, rule) for row, each in zip(rows, tokens, strict=True))
    return RenderReport(mask=rule.mask, mask_words=rule.words, rows=shown)


def _tried(row: Row, number: int, tokenizer: RowTokenizer, most: int) -> RenderedRow:
    try:
        return _answered(row, number, tokenizer, most)
    except NoMaskRule as failed:
        return RenderedRow(problem=str(failed)[:2000])


def _row(row: Row, tokens: Tokens, tokenizer: RowTokenizer, task: RenderTask, rule: RowRule) -> RenderedRow:
    words: Words
    if row.format == "messages":
        parts, words = [render(tokenizer, messages=row.messages, tools=row.tools)], words_of(row.messages)
    else:
        words = [("text", row.text)] if row.format == "text" else [("prompt", row.prompt), ("completion", row.completion)]
        parts = [part for _, part in words]
        parts = parts if rule.mask == "completion" else ["".join(parts)]
    return RenderedRow(sequences=(sequence(tokens, parts=parts, words=words, tokenizer=tokenizer, most=task.most_pieces),))


def _answered(row: Row, number: int, tokenizer: RowTokenizer, most: int) -> RenderedRow:
    (found,) = answered_rows([row], tokenizer=tokenizer, numbers=[number])
    sequences = []
    for name, answer, ids in zip(names_of(row), answers_of(row), found.answers, strict=True):
        tokens = Tokens(input_ids=[*found.prompt, *ids], spans=((len(found.prompt), len(found.prompt) + len(ids)),))
        text, words = _text_of(row, answer, tokenizer)
        sequences.append(sequence(tokens, parts=[text], words=words, tokenizer=tokenizer, most=most, name=name))
    return RenderedRow(sequences=tuple(sequences))


def names_of(row: Row) -> tuple[str, ...]:
    return ("chosen", "rejected") if row.format == "preference" else ("good answer" if row.label else "bad answer",)


def _text_of(row: Row, answer: Answer, tokenizer: RowTokenizer) -> tuple[str, Words]:
    if isinstance(answer, str):
        return row.prompt + answer, [("prompt", row.prompt), ("completion", answer)]
    messages = (*row.messages, *answer)
    return render(tokenizer, messages=messages, tools=row.tools), words_of(messages)


def words_of(messages: Sequence[Message]) -> Words:
    return [(message["role"], str(message.get("content") or "").strip()) for message in messages]


def sequence(
    tokens: Tokens, *, parts: Sequence[str], words: Words, tokenizer: RowTokenizer, most: int, name: str = ""
) -> RenderedSequence:
    """`parts`: texts that are tokenised apart and make the row's text together."""
    text = "".join(parts)
    ids = tokens.input_ids[:most]
    special = set(tokenizer.special_tokens.values())
    trained = {place for start, end in tokens.spans for place in range(max(start, 1), min(end, len(ids)))}
    owned = _owned(text, words)
    places = places_of(ids, parts=parts, tokenizer=tokenizer)
    at = 0
    pieces = []
    for place, (id, found) in enumerate(zip(ids, places, strict=True)):
        begin, finish = found or (at, at)
        piece = text[at:finish] if found else tokenizer.decode([id])
        role = _owner(owned, max(at, begin), finish) if found else ""
        pieces.append(Piece(piece, id, id in special, place in trained, role))
        at = max(at, finish)
    return RenderedSequence(
        name=name,
        pieces=tuple(pieces),
        tokens=len(tokens.input_ids),
        trained_tokens=tokens.trained,
        is_cut=len(ids) < len(tokens.input_ids),
    )


def places_of(ids: Sequence[int], *, parts: Sequence[str], tokenizer: RowTokenizer) -> list[Span | None]:
    """Where each token stands in the text; None for one that is not written in it: before the text, or an end put after it."""
    known: list[int] = []
    offsets: list[Span] = []
    at = 0
    for encoding, part in zip(tokenizer.locate(parts), parts, strict=True):
        known += encoding.ids
        offsets += [(at + start, at + end) for start, end in encoding.offsets]
        at += len(part)
    for lead in range(min(len(ids), MOST_BEFORE) + 1):
        length = min(len(known), len(ids) - lead)
        if list(ids[lead : lead + length]) == known[:length]:
            return [*[None] * lead, *offsets[:length], *[None] * (len(ids) - lead - length)]
    return [None] * len(ids)


def _owned(text: str, words: Words) -> list[tuple[int, int, str]]:
    """Where the words of each message stand. Some templates change them: those belong to nobody."""
    found = []
    at = 0
    for role, part in words:
        start = text.find(part, at) if part else -1
        if start >= 0:
            at = start + len(part)
            found.append((start, at, role))
    return found


def _owner(owned: list[tuple[int, int, str]], begin: int, finish: int) -> str:
    return next((role for start, end, role in owned if begin < end and finish > start), "")
