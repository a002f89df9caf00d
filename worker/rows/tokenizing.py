"""All rows of a run as tokens and labels, by the first mask rule that holds for every one of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.contract.dataset import Mask, RowFormat
from worker.rows.errors import NoMaskRule, RuleFailed
from worker.rows.masking import IGNORED, MaskRow, Tokens, chat_rules
from worker.rows.rendering import render
from worker.rows.shapes import Row
from worker.rows.tokenizer import Tokenizer

WHOLE_ROW = "every token of the row"
COMPLETION = "the completion and the end-of-text token after it"


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
    tokenizer: Tokenizer,
    max_length: int,
    train_on: str = "assistant",
    trl_template: str | None = None,
) -> TokenizedRows:
    """Raises NoMaskRule when only whole rows could be trained on and that was not asked for."""
    mask, words, tokens = _mask(rows, format=format, tokenizer=tokenizer, train_on=train_on, trl_template=trl_template)
    cut = [Tokens(input_ids=row.input_ids[:max_length], labels=row.labels[:max_length]) for row in tokens]
    places = tuple(place for place, row in enumerate(cut) if row.trained)
    return TokenizedRows(
        rows=[cut[place] for place in places],
        mask=mask,
        mask_words=words,
        cut_rows=sum(len(row.input_ids) > max_length for row in tokens),
        untrained_rows=len(cut) - len(places),
        places=places,
    )


def _mask(
    rows: Sequence[Row], *, format: RowFormat, tokenizer: Tokenizer, train_on: str, trl_template: str | None
) -> tuple[Mask, str, list[Tokens]]:
    if format == "text" or train_on == "whole_row":
        return "whole_row", WHOLE_ROW, [_whole(row, tokenizer=tokenizer) for row in rows]
    if format == "prompt_completion":
        return "completion", COMPLETION, [_completion(row, tokenizer=tokenizer) for row in rows]
    return _mask_chats(rows, tokenizer=tokenizer, trl_template=trl_template)


def _mask_chats(rows: Sequence[Row], *, tokenizer: Tokenizer, trl_template: str | None) -> tuple[Mask, str, list[Tokens]]:
    if not tokenizer.chat_template:
        raise NoMaskRule("The model has no chat template, so it cannot be trained on chat messages.")
    reasons = []
    for rule in chat_rules(tokenizer, trl_template=trl_template):
        try:
            return rule.mask, rule.words, _mask_all(rows, mask_row=rule.prepare())
        except RuleFailed as failed:
            reasons.append(f"{rule.mask}: {failed}")
    raise NoMaskRule(f"The assistant's tokens cannot be told apart with this chat template ({'; '.join(reasons)}).")


def _mask_all(rows: Sequence[Row], *, mask_row: MaskRow) -> list[Tokens]:
    tokens = []
    for place, row in enumerate(rows, 1):
        try:
            tokens.append(mask_row(row))
        except RuleFailed as failed:
            raise RuleFailed(f"{failed} (row {place})") from failed
    return tokens


def _completion(row: Row, *, tokenizer: Tokenizer) -> Tokens:
    """Prompt and completion are tokenized apart, as they are when the model is asked: no token spans both."""
    prompt = list(tokenizer(row.prompt)["input_ids"])
    if prompt and prompt[-1] == tokenizer.eos_token_id:  # some tokenizers end every text themselves
        prompt.pop()
    completion = _ended(list(tokenizer(row.completion, add_special_tokens=False)["input_ids"]), tokenizer=tokenizer)
    return Tokens(input_ids=prompt + completion, labels=[IGNORED] * len(prompt) + completion)


def _whole(row: Row, *, tokenizer: Tokenizer) -> Tokens:
    if row.format == "messages":
        ids = list(tokenizer(_rendered(row, tokenizer=tokenizer), add_special_tokens=False)["input_ids"])
    else:
        ids = _ended(list(tokenizer(row.text or row.prompt + row.completion)["input_ids"]), tokenizer=tokenizer)
    return Tokens(input_ids=ids, labels=list(ids))


def _rendered(row: Row, *, tokenizer: Tokenizer) -> str:
    if not tokenizer.chat_template:
        raise NoMaskRule("The model has no chat template, so it cannot be trained on chat messages.")
    try:
        return render(tokenizer, row=row)
    except RuleFailed as failed:
        raise NoMaskRule(f"A conversation cannot be written as text: {failed}.") from failed


def _ended(ids: list[int], *, tokenizer: Tokenizer) -> list[int]:
    """With the end-of-text token at the end, so that the model learns to stop."""
    if tokenizer.eos_token_id is None or (ids and ids[-1] == tokenizer.eos_token_id):
        return ids
    return [*ids, tokenizer.eos_token_id]
