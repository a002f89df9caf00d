"""Preferences as tokens: what was asked, and each answer with its end-of-turn token.

The tokens are those of TRL's DPOTrainer: question and answer are rendered and tokenised together, and the answer begins where
they part from the question alone. Rows are cut at the end, and a row whose question alone fills max_length is left out, as TRL
does; so is a pair whose answers are the same once they are cut. A score is of a whole answer: rewards leave longer rows out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.rows.errors import NoMaskRule, RuleFailed
from worker.rows.preferences import shared_length
from worker.rows.rendering import tokens_of_chat
from worker.rows.row import Answer, Row
from worker.rows.tokenizer import Tokenizer

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
    rows: Sequence[Row], *, tokenizer: Tokenizer, max_length: int, takes_pairs_apart: bool = False, must_be_whole: bool = False
) -> AnsweredRows:
    """`takes_pairs_apart`: each pair becomes a good and a bad answer. Raises NoMaskRule when a chat cannot be written as text."""
    given = [(place, part) for place, row in enumerate(rows) for part in (_apart(row) if takes_pairs_apart else (row,))]
    kept: list[tuple[int, Answered]] = []
    cut = too_long = same = 0
    for place, row in given:
        tokens = _tokens(row, tokenizer=tokenizer)
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


def _apart(row: Row) -> tuple[Row, ...]:
    if row.format != "preference":
        return (row,)
    parts = ((row.chosen, True), (row.rejected, False))
    return tuple(
        Row("unpaired_preference", messages=row.messages, tools=row.tools, prompt=row.prompt, answer=answer, label=label)
        for answer, label in parts
    )


def _tokens(row: Row, *, tokenizer: Tokenizer) -> Answered:
    answers = (row.chosen, row.rejected) if row.format == "preference" else (row.answer,)
    if row.messages and not tokenizer.chat_template:
        raise NoMaskRule("The model has no chat template, so it cannot be trained on chat messages.")
    try:
        asked, wholes = (_chat if row.messages else _text)(row, answers, tokenizer)
    except RuleFailed as failed:
        raise NoMaskRule(f"A conversation cannot be written as text: {failed}.") from failed
    begin = min(shared_length(asked, whole) for whole in wholes)
    return Answered(prompt=asked[:begin], answers=tuple(whole[begin:] for whole in wholes), label=row.label)


Written = tuple[list[int], list[list[int]]]
Write = Callable[[Row, Sequence[Answer], Tokenizer], Written]


def _chat(row: Row, answers: Sequence[Answer], tokenizer: Tokenizer) -> Written:
    def written(messages: Sequence[dict[str, Any]], *, asks: bool = False) -> list[int]:
        return tokens_of_chat(tokenizer, messages=messages, tools=row.tools, asks=asks)

    return written(row.messages, asks=True), [
        written((*row.messages, *answer)) for answer in answers if not isinstance(answer, str)
    ]


def _text(row: Row, answers: Sequence[Answer], tokenizer: Tokenizer) -> Written:
    end = tokenizer.eos_token or ""
    texts = [answer if answer.endswith(end) else answer + end for answer in answers if isinstance(answer, str)]
    return list(tokenizer(row.prompt)["input_ids"]), [list(tokenizer(row.prompt + text)["input_ids"]) for text in texts]


def _cut(row: Answered, *, max_length: int) -> Answered:
    room = max(max_length - len(row.prompt), 0)
    return Answered(prompt=row.prompt, answers=tuple(answer[:room] for answer in row.answers), label=row.label)
