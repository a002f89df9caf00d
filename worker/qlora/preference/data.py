"""Preference rows as the datasets that the trainers of this room take."""

import hashlib
from array import array
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from worker.contract.rows_report import RowProblem
from worker.contract.spec import FinetuneSpec
from worker.qlora.dataset import PreparedData, left_out_of_the_file, lines_held_out
from worker.qlora.failures import RunFailed
from worker.rows.errors import NoMaskRule
from worker.rows.iterating import NumberedRow
from worker.rows.pairing import WORDS, Answered, AnsweredRows, tokenize_answers
from worker.rows.tokenizer import RowTokenizer

Lined = tuple[int, Answered]
SWITCHED_OFF = (
    "Dropout is off under this objective, as TRL has it: it would blur the difference between the two answers. The job asks for {}."
)


def prepare_answers(
    rows: list[NumberedRow], problems: list[RowProblem], *, spec: FinetuneSpec, tokenizer: RowTokenizer
) -> PreparedData:
    found = _tokenize(rows, spec=spec, tokenizer=tokenizer)
    max_length = spec.training.max_length
    if not found.rows:
        raise _nothing_to_learn(found, max_length=max_length)
    lined = [(rows[place].line, answered) for place, answered in zip(found.places, found.rows, strict=True)]
    held_out = lines_held_out([line for line, _ in lined], rows=rows, spec=spec)
    train = [row for row in lined if row[0] not in held_out]
    evaluated = [row for row in lined if row[0] in held_out]
    return PreparedData(
        train=as_dataset(train),
        eval=as_dataset(evaluated) if evaluated else None,
        train_rows=len(train),
        train_tokens=sum(sum(row.lengths) for _, row in train),
        trained_tokens=sum(row.trained for _, row in train),
        cut_rows=found.cut_rows,
        mask="completion",
        mask_words=WORDS,
        notices=(*left_out_of_the_file(problems), *_notices(found, max_length=max_length), *_dropout(spec)),
        is_binned=False,
        rows_sha256=_digest(train),
    )


def _tokenize(rows: list[NumberedRow], *, spec: FinetuneSpec, tokenizer: RowTokenizer) -> AnsweredRows:
    try:
        return tokenize_answers(
            [item.row for item in rows],
            tokenizer=tokenizer,
            max_length=spec.training.max_length,
            takes_pairs_apart=spec.objective.kind == "kto",
            must_be_whole=spec.objective.kind == "reward",
            numbers=[item.line for item in rows],
        )
    except NoMaskRule as error:
        advice = "Use a model with a chat template, or write prompt, chosen and rejected as plain texts."
        raise RunFailed("bad_config", str(error), advice=advice) from error


def as_dataset(rows: Sequence[Lined]) -> Dataset:
    """`length`: tokens of all sequences of the row; `longest`: of the longest one. Neither reaches a collator, nor do `lines`."""
    answers = [row for _, row in rows]
    columns: dict[str, list[Any]] = {
        "prompt_ids": [row.prompt for row in answers],
        "lines": [[line] for line, _ in rows],
        "seq_lengths": [list(row.lengths) for row in answers],
        "length": [sum(row.lengths) for row in answers],
        "longest": [max(row.lengths) for row in answers],
    }
    if len(answers[0].answers) == 2:
        columns |= {
            "chosen_ids": [row.answers[0] for row in answers],
            "rejected_ids": [row.answers[1] for row in answers],
        }
    else:
        columns |= {"completion_ids": [row.answers[0] for row in answers], "label": [row.label for row in answers]}
    return Dataset.from_dict(columns)


def _digest(rows: Sequence[Lined]) -> str:
    digest = hashlib.sha256()
    for _, row in rows:
        for part in (row.prompt, *row.answers):
            digest.update(array("q", [len(part), *part]).tobytes())
        digest.update(f"{row.label}".encode())
    return digest.hexdigest()


def _nothing_to_learn(found: AnsweredRows, *, max_length: int) -> RunFailed:
    if found.same_rows:
        message = f"In all of the {found.same_rows} pairs that fit into {max_length} tokens, chosen and rejected are the same."
        return RunFailed("bad_data", message, advice="Raise the max length: the answers differ only after it, if they do.")
    message = f"Of the {found.too_long_rows} rows none has an answer within {max_length} tokens."
    return RunFailed("bad_data", message, advice="Raise the max length: what is asked takes all of it.")


def _notices(found: AnsweredRows, *, max_length: int) -> tuple[str, ...]:
    rows = len(found.rows) + found.too_long_rows + found.same_rows
    notices = []
    if found.cut_rows:
        share = 100 * found.cut_rows / rows
        notices.append(
            f"{found.cut_rows} of {rows} rows ({share:.1f} %) are longer than {max_length} tokens and were cut at the end."
        )
    if found.too_long_rows:
        notices.append(
            f"{found.too_long_rows} of {rows} rows were left out: within {max_length} tokens there is no (whole) answer."
        )
    if found.same_rows:
        notices.append(f"{found.same_rows} of {rows} pairs were left out: within {max_length} tokens both answers are the same.")
    return tuple(notices)


def _dropout(spec: FinetuneSpec) -> tuple[str, ...]:
    asked = spec.lora.lora_dropout
    return (SWITCHED_OFF.format(f"{asked:g}"),) if asked and not spec.is_full else ()
