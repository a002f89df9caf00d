"""Preferences as tokens: what was asked, and each answer with its end-of-turn token.

The tokens are those of TRL's DPOTrainer: question and answer are rendered and tokenised together, and the answer begins where
they part from the question alone. Rows are cut at the end, and a row whose question alone fills max_length is left out, as TRL
does; so is a pair whose answers are the same once they are cut. A score is of a whole answer: rewards leave longer rows out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from worker.rows.errors import NoMaskRule, RuleFailed
from worker.rows.preferences import shared_length
from worker.rows.rendering import render
from worker.rows.row import Answer, Row
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokenizing import NO_TEMPLATE, in_batches, of_each

WORDS = "the answers up to their end, chosen and rejected; what was asked is left out"


@dataclass(frozen=True)
class Answered:
    """A question and its answers as tokens, two of a pair (chosen, rejected) or one with its label. Already cut."""

    prompt: list[int]
    answers: tuple[list[int], ...]
    label: bool | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence that goes through the model."""
        return tuple(len(self.prompt) + len(answer) for answer in self.answers)

    @property
    def trained(self) -> int:
        return sum(map(len, self.answers))


@dataclass(frozen=True)
class AnsweredRows:
    """Rows that can be learned from, and what happened to the others."""

    rows: list[Answered]
    cut_rows: int
    too_long_rows: int
    """Left out: nothing of an answer fitted, or for rewards not all of it."""
    same_rows: int
    """Left out: the answers of the pair are the same tokens, or became so by cutting."""
    places: tuple[int, ...]
    """Where each of `rows` stood among those that were given (0 is the first)."""


def tokenize_answers(
    rows: Sequence[Row],
    *,
    tokenizer: RowTokenizer,
    max_length: int,
    takes_pairs_apart: bool = False,
    must_be_whole: bool = False,
    numbers: Sequence[int] = (),
) -> AnsweredRows:
    """`takes_pairs_apart`: each pair becomes a good and a bad answer. Raises NoMaskRule when a chat cannot be written as text;
    it names a row by its place, or by its entry in `numbers`."""
    given = [(place, part) for place, row in enumerate(rows) for part in (apart(row) if takes_pairs_apart else (row,))]
    kept: list[tuple[int, Answered]] = []
    cut = too_long = same = 0
    names = [numbers[place] if numbers else place + 1 for place, _ in given]
    answered = answered_rows((row for _, row in given), tokenizer=tokenizer, numbers=names)
    for (place, _), tokens in zip(given, answered, strict=True):
        is_cut = max(tokens.lengths) > max_length
        found = _cut(tokens, max_length=max_length)
        if not all(found.answers) or (is_cut and must_be_whole):
            too_long += 1
        elif len(found.answers) == 2 and found.answers[0] == found.answers[1]:
            same += 1
        else:
            kept.append((place, found))
            cut += is_cut
    return AnsweredRows(
        rows=[row for _, row in kept],
        cut_rows=cut,
        too_long_rows=too_long,
        same_rows=same,
        places=tuple(place for place, _ in kept),
    )


def answered_rows(rows: Iterable[Row], *, tokenizer: RowTokenizer, numbers: Sequence[int] = ()) -> Iterator[Answered]:
    """Whole, one for each row, in batches. Raises NoMaskRule, which says the row: by its number, where `numbers` are those."""
    done = 0
    for batch in in_batches(rows):
        if any(row.messages for row in batch) and not tokenizer.chat_template:
            raise NoMaskRule(NO_TEMPLATE)
        try:
            yield from _answered(batch, tokenizer=tokenizer)
        except RuleFailed as failed:
            raise NoMaskRule(f"A conversation cannot be written as text: {failed.after(done, numbers=numbers)}.") from failed
        done += len(batch)


def _answered(rows: Sequence[Row], *, tokenizer: RowTokenizer) -> Iterator[Answered]:
    texts = of_each(rows, lambda row: (_chat if row.messages else _text)(row, tokenizer))
    ids = {is_chat: iter(_encoded(rows, texts, is_chat=is_chat, tokenizer=tokenizer)) for is_chat in (True, False)}
    for row, each in zip(rows, texts, strict=True):
        asked, *wholes = [next(ids[bool(row.messages)]) for _ in each]
        begin = min(shared_length(asked, whole) for whole in wholes)
        yield Answered(prompt=asked[:begin], answers=tuple(whole[begin:] for whole in wholes), label=row.label)


def _encoded(rows: Sequence[Row], texts: list[list[str]], *, is_chat: bool, tokenizer: RowTokenizer) -> list[list[int]]:
    """A chat template writes its special tokens itself."""
    flat = [text for row, each in zip(rows, texts, strict=True) if bool(row.messages) == is_chat for text in each]
    return tokenizer.encode_all(flat, adds_special=not is_chat)


def _chat(row: Row, tokenizer: RowTokenizer) -> list[str]:
    """What was asked, and that with each of its answers."""
    wholes = [(*row.messages, *answer) for answer in answers_of(row) if not isinstance(answer, str)]
    asked = render(tokenizer, messages=row.messages, tools=row.tools, asks=True)
    return [asked, *(render(tokenizer, messages=messages, tools=row.tools) for messages in wholes)]


def _text(row: Row, tokenizer: RowTokenizer) -> list[str]:
    end = tokenizer.eos_token or ""
    texts = [answer if answer.endswith(end) else answer + end for answer in answers_of(row) if isinstance(answer, str)]
    return [row.prompt, *(row.prompt + text for text in texts)]


def answers_of(row: Row) -> tuple[Answer, ...]:
    return (row.chosen, row.rejected) if row.format == "preference" else (row.answer,)


def apart(row: Row) -> tuple[Row, ...]:
    if row.format != "preference":
        return (row,)
    parts = ((row.chosen, True), (row.rejected, False))
    return tuple(
        Row("unpaired_preference", messages=row.messages, tools=row.tools, prompt=row.prompt, answer=answer, label=label)
        for answer, label in parts
    )


def _cut(row: Answered, *, max_length: int) -> Answered:
    room = max(max_length - len(row.prompt), 0)
    return Answered(prompt=row.prompt, answers=tuple(answer[:room] for answer in row.answers), label=row.label)
