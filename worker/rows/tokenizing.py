"""All rows of a run as tokens and spans, by the first mask rule that holds for every one of them. In batches: memory is bounded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from worker.contract.dataset import Mask, RowFormat
from worker.rows.errors import NoMaskRule, RuleFailed
from worker.rows.limits import limit_memory
from worker.rows.masking import MaskRule, chat_rules
from worker.rows.placing import Placer
from worker.rows.rendering import render
from worker.rows.row import Row
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokens import Tokens, whole

WHOLE_ROW = "every token of the row"
COMPLETION = "the completion and the end-of-text token after it"
NO_TEMPLATE = "The model has no chat template, so it cannot be trained on chat messages as it is. One can be chosen for it: see Chat template."
BATCH_ROWS = 4096  # 1.4 times as fast as 256 on two cores
BATCH_CHARS = 8_000_000

Tokenise = Callable[[Sequence[Row]], list[Tokens]]


@dataclass(frozen=True)
class RowRule:
    """How the rows of a format become tokens; `tokenise` raises RuleFailed with the number of the row in its batch."""

    mask: Mask
    words: str
    tokenise: Tokenise
    chat: MaskRule | None = None


@dataclass(frozen=True)
class TokenizedRows:
    """Rows that can be trained on, and what happened to the others."""

    rows: list[Tokens]
    mask: Mask
    mask_words: str
    cut_rows: int
    """Rows longer than max_length, cut at the end."""
    untrained_rows: int
    """Rows left out because no trained token was left in them."""
    places: tuple[int, ...]
    """Where each of `rows` stood among those that were given (0 is the first)."""

    @property
    def tokens(self) -> int:
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def trained_tokens(self) -> int:
        return sum(row.trained for row in self.rows)


def tokenize_rows(
    rows: Sequence[Row],
    *,
    format: RowFormat,
    tokenizer: RowTokenizer,
    max_length: int,
    train_on: str = "assistant",
    numbers: Sequence[int] = (),
) -> TokenizedRows:
    """Raises NoMaskRule when only whole rows could be trained on and that was not asked for. `numbers`: as in tokenise_all."""
    rule, done = by_first_rule(
        rules_for(format, tokenizer=tokenizer, train_on=train_on),
        lambda rule: [row for batch in tokenise_all(rows, rule=rule, numbers=numbers) for row in batch],
    )
    cut = [row.cut(max_length) for row in done]
    places = tuple(place for place, row in enumerate(cut) if row.trained)
    return TokenizedRows(
        rows=[cut[place] for place in places],
        mask=rule.mask,
        mask_words=rule.words,
        cut_rows=sum(len(row.input_ids) > max_length for row in done),
        untrained_rows=len(cut) - len(places),
        places=places,
    )


Rules = Sequence[tuple[Mask, Callable[[], RowRule]]]
Result = TypeVar("Result")


def by_first_rule(rules: Rules, work: Callable[[RowRule], Result]) -> tuple[RowRule, Result]:
    """The first rule under which all of the work succeeds. Raises NoMaskRule with the reason of each."""
    reasons = []
    for mask, make in rules:
        try:
            rule = make()
            return rule, work(rule)
        except RuleFailed as failed:
            reasons.append((mask, str(failed)))
    if len(rules) == 1:
        raise NoMaskRule(f"A conversation cannot be written as text: {reasons[0][1]}.")
    told = "; ".join(f"{mask}: {reason}" for mask, reason in reasons)
    raise NoMaskRule(f"The assistant's tokens cannot be told apart with this chat template ({told}).")


def rules_for(format: RowFormat, *, tokenizer: RowTokenizer, train_on: str) -> Rules:
    """Ways to make tokens of rows of this format, best first. Raises NoMaskRule when there can be none."""
    if format == "messages" and not tokenizer.chat_template:
        raise NoMaskRule(NO_TEMPLATE)
    if format == "text" or train_on == "whole_row":
        return (("whole_row", lambda: RowRule("whole_row", WHOLE_ROW, lambda rows: _whole(rows, tokenizer=tokenizer))),)
    if format == "prompt_completion":
        return (("completion", lambda: RowRule("completion", COMPLETION, lambda rows: _completions(rows, tokenizer=tokenizer))),)
    return tuple((mask, _chat_rule(tokenizer, make=make)) for mask, make in chat_rules(tokenizer))


def _chat_rule(tokenizer: RowTokenizer, *, make: Callable[[], MaskRule]) -> Callable[[], RowRule]:
    def made() -> RowRule:
        rule = make()
        placer = Placer(tokenizer, rule=rule)
        return RowRule(rule.mask, rule.words, lambda rows: placer.place_all(of_each(rows, rule.mark)), chat=rule)

    return made


def of_each(rows: Sequence[Row], written: Callable[[Row], Result]) -> list[Result]:
    """What rendering makes of each row, within one limit of memory. Raises RuleFailed, which says the row."""
    found = []
    with limit_memory():
        for place, row in enumerate(rows, 1):
            try:
                found.append(written(row))
            except RuleFailed as failed:
                raise RuleFailed(failed.sentence, place=place) from failed
    return found


def tokenise_all(rows: Iterable[Row], *, rule: RowRule, numbers: Sequence[int] = ()) -> Iterator[list[Tokens]]:
    """A list for each batch. Raises RuleFailed, which says the row: by its number, where `numbers` are those of the rows."""
    done = 0
    for batch in in_batches(rows):
        try:
            yield rule.tokenise(batch)
        except RuleFailed as failed:
            raise failed.after(done, numbers=numbers) from failed
        done += len(batch)


def in_batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    chars = 0
    for row in rows:
        batch.append(row)
        chars += row.chars
        if len(batch) >= BATCH_ROWS or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _completions(rows: Sequence[Row], *, tokenizer: RowTokenizer) -> list[Tokens]:
    """Prompt and completion are tokenized apart, as they are when the model is asked: no token spans both."""
    prompts = tokenizer.encode_all([row.prompt for row in rows], adds_special=True)
    completions = tokenizer.encode_all([row.completion for row in rows])
    return [_completion(*both, tokenizer=tokenizer) for both in zip(prompts, completions, strict=True)]


def _completion(prompt: list[int], completion: list[int], *, tokenizer: RowTokenizer) -> Tokens:
    if prompt and prompt[-1] == tokenizer.eos_token_id:  # some tokenizers end every text themselves
        prompt = prompt[:-1]
    ids = prompt + _ended(completion, tokenizer=tokenizer)
    return Tokens(input_ids=ids, spans=((len(prompt), len(ids)),))


def _whole(rows: Sequence[Row], *, tokenizer: RowTokenizer) -> list[Tokens]:
    if rows[0].format == "messages":
        texts = of_each(rows, lambda row: render(tokenizer, messages=row.messages, tools=row.tools))
        return [whole(ids) for ids in tokenizer.encode_all(texts)]
    ids = tokenizer.encode_all([row.text or row.prompt + row.completion for row in rows], adds_special=True)
    return [whole(_ended(each, tokenizer=tokenizer)) for each in ids]


def _ended(ids: list[int], *, tokenizer: RowTokenizer) -> list[int]:
    """With the end-of-text token at the end, so that the model learns to stop."""
    if tokenizer.eos_token_id is None or (ids and ids[-1] == tokenizer.eos_token_id):
        return ids
    return [*ids, tokenizer.eos_token_id]
