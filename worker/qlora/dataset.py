"""The dataset file as token rows, split into those trained on and those held out. Each row knows its line of the file."""

import hashlib
import random
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from worker.contract.dataset import Data, DatasetRef, Mask, RowFormat
from worker.contract.objective import Sft, why_not_learned
from worker.contract.rows_report import RowProblem
from worker.contract.spec import FinetuneSpec
from worker.qlora.bins import fill_bins
from worker.qlora.bins import in_words as bins_in_words
from worker.qlora.failures import RunFailed
from worker.rows.errors import FileRefused, NoMaskRule
from worker.rows.iterating import NumberedRow, read_rows
from worker.rows.rows_file import TRAIN
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokenizing import TokenizedRows, tokenize_rows
from worker.rows.tokens import Tokens


@dataclass(frozen=True)
class PreparedData:
    train: Dataset
    """Rows, or bins of several rows under packing."""
    eval: Dataset | None
    train_rows: int
    train_tokens: int
    trained_tokens: int
    cut_rows: int
    mask: Mask
    mask_words: str
    notices: tuple[str, ...]
    is_binned: bool
    """Packing: an entry of `train` is a bin of several rows."""
    rows_sha256: str
    """Of all tokens and labels trained on, in their order: another tokenizer, template or split has another one."""


@dataclass(frozen=True)
class Numbered:
    line: int
    tokens: Tokens


@dataclass(frozen=True)
class Lines:
    """Of the dataset file: entry n of the dataset stands on lines[ends[n] : ends[n + 1]]."""

    lines: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    def of(self, places: Iterable[int]) -> list[int]:
        return sorted(int(line) for place in places for line in self.lines[self.ends[place] : self.ends[place + 1]])


def check_dataset_file(path: Path, *, dataset: DatasetRef) -> None:
    """The bytes must be those that the job was submitted with."""
    if not path.is_file():
        raise RunFailed("bad_data", "The dataset file is not in the run directory.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != dataset.sha256:
        raise RunFailed("bad_data", f"The dataset file is not the version that the job names: its SHA-256 is {digest}.")


def prepare_data(path: Path, *, spec: FinetuneSpec, tokenizer: RowTokenizer) -> PreparedData:
    rows, problems = read_usable_rows(path)
    rows = rows_of_the_run(rows, spec=spec)
    check_fits(spec, format=rows[0].row.format)
    if spec.objective.kind != "sft":
        from worker.qlora.preference.data import prepare_answers

        return prepare_answers(rows, problems, spec=spec, tokenizer=tokenizer)
    tokenized = _tokenize(rows, spec=spec, tokenizer=tokenizer)
    if not tokenized.rows:
        raise _nothing_to_train(tokenized, max_length=spec.training.max_length)
    numbered = [Numbered(rows[place].line, tokens) for place, tokens in zip(tokenized.places, tokenized.rows, strict=True)]
    apart = lines_held_out([item.line for item in numbered], rows=rows, spec=spec)
    train, held_out = [each for each in numbered if each.line not in apart], [each for each in numbered if each.line in apart]
    bins = _bins(train, spec=spec)
    notices = _notices(tokenized, rows=len(rows), problems=problems, max_length=spec.training.max_length)
    return PreparedData(
        train=_dataset(train, bins=bins),
        eval=_dataset(held_out) if held_out else None,
        train_rows=len(train),
        train_tokens=sum(len(row.tokens.input_ids) for row in train),
        trained_tokens=sum(row.tokens.trained for row in train),
        cut_rows=tokenized.cut_rows,
        mask=tokenized.mask,
        mask_words=tokenized.mask_words,
        notices=(*notices, _packing_notice(train, bins=bins, spec=spec)) if bins else notices,
        is_binned=bool(bins),
        rows_sha256=_digest(train),
    )


def check_fits(spec: FinetuneSpec, *, format: RowFormat) -> None:
    if unfit := why_not_learned(spec.objective.kind, format):
        raise RunFailed("bad_data", unfit.sentence, advice=unfit.advice)


def read_usable_rows(path: Path) -> tuple[list[NumberedRow], list[RowProblem]]:
    rows: list[NumberedRow] = []
    problems: list[RowProblem] = []
    try:
        for item in read_rows(path):
            if isinstance(item, NumberedRow):
                rows.append(item)
            else:
                problems.append(item)
    except FileRefused as refused:
        raise RunFailed("bad_data", refused.refusal.reason, advice=refused.refusal.fix) from refused
    if not rows:
        first = f" Line {problems[0].line}: {problems[0].reason}" if problems else ""
        raise RunFailed("bad_data", f"No row of the dataset can be trained on.{first}", advice=problems[0].fix if problems else "")
    return rows, problems


def _tokenize(rows: list[NumberedRow], *, spec: FinetuneSpec, tokenizer: RowTokenizer) -> TokenizedRows:
    try:
        return tokenize_rows(
            [item.row for item in rows],
            format=rows[0].row.format,
            tokenizer=tokenizer,
            max_length=spec.training.max_length,
            train_on=spec.data.train_on,
            numbers=[item.line for item in rows],
        )
    except NoMaskRule as error:
        advice = "Choose “train on: whole rows” to train on every token, or a model whose chat template has generation markers."
        raise RunFailed("bad_config", str(error), advice=advice) from error


def rows_of_the_run(rows: list[NumberedRow], *, spec: FinetuneSpec) -> list[NumberedRow]:
    """Rows marked as held out are never trained on: those asked for are measured, the others left alone."""
    name = spec.data.dataset_test_split
    if name and not any(row.split == name for row in rows):
        raise RunFailed("bad_data", f"The dataset has no rows marked as {name}.", advice="Split it first, or hold out a share.")
    if not any(row.split == TRAIN for row in rows):
        raise RunFailed("bad_data", "All rows of the dataset are marked as held out, so there is nothing to train on.")
    return [row for row in rows if row.split in (TRAIN, name)]


def lines_held_out(lines: list[int], *, rows: list[NumberedRow], spec: FinetuneSpec) -> set[int]:
    """Of `lines`, which are left of `rows`: those marked, or a share of all."""
    if name := spec.data.dataset_test_split:
        return {row.line for row in rows if row.split == name}.intersection(lines)
    return split_lines(lines, data=spec.data, seed=spec.training.seed)


def split_lines(lines: list[int], *, data: Data, seed: int) -> set[int]:
    """Those held out: the same for the same seed. At least one line stays on each side; the answers of one line stay together."""
    unique = list(dict.fromkeys(lines))
    count = min(max(round(len(unique) * data.eval_share), 1), len(unique) - 1) if data.eval_share > 0 else 0
    return {unique[place] for place in random.Random(seed).sample(range(len(unique)), count)}  # noqa: S311  # a split is no secret


def _bins(rows: list[Numbered], *, spec: FinetuneSpec) -> list[list[int]]:
    """Places of the rows in each bin; none without packing."""
    if not (isinstance(spec.objective, Sft) and spec.objective.packing):
        return []
    return fill_bins([len(row.tokens.input_ids) for row in rows], size=spec.training.max_length)


def _packing_notice(rows: list[Numbered], *, bins: list[list[int]], spec: FinetuneSpec) -> str:
    tokens = sum(len(row.tokens.input_ids) for row in rows)
    return bins_in_words(bins, tokens=tokens, size=spec.training.max_length, effective_batch=spec.training.effective_batch)


def _dataset(rows: list[Numbered], *, bins: list[list[int]] | None = None) -> Dataset:
    """One entry a row, or one a bin. `lines` and `length` never reach the collator: the trainer drops them."""
    parts = [[rows[place] for place in places] for places in bins] if bins else [[row] for row in rows]
    return Dataset.from_dict(
        {
            "input_ids": [[token for row in part for token in row.tokens.input_ids] for part in parts],
            "labels": [[label for row in part for label in row.tokens.labels] for part in parts],
            "seq_lengths": [[len(row.tokens.input_ids) for row in part] for part in parts],
            "lines": [[row.line for row in part] for part in parts],
            "length": [sum(len(row.tokens.input_ids) for row in part) for part in parts],
        }
    )


def _digest(rows: list[Numbered]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(array("q", [len(row.tokens.input_ids), *row.tokens.input_ids, *row.tokens.labels]).tobytes())
    return digest.hexdigest()


def lines_of(rows: Dataset) -> Lines:
    """Lines of the dataset file, of each row or bin."""
    return Lines(_flat(rows, "lines"), np.cumsum([0, *_counts(rows)]))


def lengths_of(rows: Dataset) -> npt.NDArray[np.int64]:
    """Tokens of each row or bin, a pair's two sequences together."""
    return np.asarray(rows.data.column("length").to_numpy(), dtype=np.int64)


def longest_of(rows: Dataset) -> npt.NDArray[np.int64]:
    """Tokens of the longest sequence of each row, of all of a bin's together."""
    name = "longest" if "longest" in rows.column_names else "length"
    return np.asarray(rows.data.column(name).to_numpy(), dtype=np.int64)


def row_lengths_of(rows: Dataset) -> npt.NDArray[np.int64]:
    """Tokens of each sequence by itself, those of bins and pairs too."""
    return _flat(rows, "seq_lengths")


def most_rows_of(rows: Dataset) -> int:
    """Of one entry: 1 without packing."""
    return int(_counts(rows).max())


def _flat(rows: Dataset, column: str) -> npt.NDArray[np.int64]:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in rows.data.column(column).chunks]).astype(np.int64)


def _counts(rows: Dataset) -> npt.NDArray[np.int64]:
    return np.concatenate([chunk.value_lengths().to_numpy() for chunk in rows.data.column("lines").chunks]).astype(np.int64)


def _nothing_to_train(tokenized: TokenizedRows, *, max_length: int) -> RunFailed:
    return RunFailed(
        "bad_data",
        f"None of the {tokenized.untrained_rows} rows has a trained token left within {max_length} tokens.",
        advice="Raise the max length: the answers begin after it.",
    )


def left_out_of_the_file(problems: list[RowProblem]) -> tuple[str, ...]:
    if not problems:
        return ()
    first = problems[0]
    return (f"{len(problems)} rows of the file were left out; the first is line {first.line}: {first.reason}",)


def _notices(tokenized: TokenizedRows, *, rows: int, problems: list[RowProblem], max_length: int) -> tuple[str, ...]:
    notices = [*left_out_of_the_file(problems)]
    if tokenized.cut_rows:
        share = 100 * tokenized.cut_rows / rows
        notices.append(
            f"{tokenized.cut_rows} of {rows} rows ({share:.1f} %) are longer than {max_length} tokens and were cut at the end."
        )
    if tokenized.untrained_rows:
        notices.append(
            f"{tokenized.untrained_rows} of {rows} rows have no trained token within {max_length} tokens and were left out."
        )
    return tuple(notices)
