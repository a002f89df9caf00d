"""Rows that are there twice, and rows that train and evaluation share. The digests are read from the rows file, a share at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worker.contract.row_warnings import WarningKind
from worker.rows.columns_of_file import words_in
from worker.rows.equal_keys import Keyed, Places, firsts, sorted_shares
from worker.rows.findings import repeated_problems
from worker.rows.rows_file import NOTHING_ASKED, TRAIN

READ_ROWS = 65_536
WORDS: dict[WarningKind, str] = {
    "duplicate": "The row is the same as {}.",
    "shared_between_splits": "The training row in {} asks the same, so evaluating here would test what was learned by heart.",
}
FIXES: dict[WarningKind, str] = {
    "duplicate": "Leave it out when you clean the version, unless the model should see it more often.",
    "shared_between_splits": "Leave out one of the two, or split the rows anew.",
}


def duplicate_problems(path: Path, *, rows: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A warning for each row but the first of equal ones."""
    for share in sorted_shares(lambda: _digests(path), rows=rows):
        second, files, lines = share.others
        first = firsts(share.keys)
        repeated = (first != np.arange(len(first))) & (second == second[first])
        yield from _told("duplicate", share.places, repeated, first, files, lines, names=names)


def shared_problems(path: Path, *, rows: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A warning for each row of another split that asks what a training row asks."""
    for share in sorted_shares(lambda: _asked(path), rows=rows):
        is_train, files, lines = share.others
        by_split = np.lexsort((~is_train, share.keys))  # of equal ones the training rows first
        sorted_ = share.only(by_split)
        is_train, files, lines = sorted_.others
        first = firsts(sorted_.keys)
        yield from _told("shared_between_splits", sorted_.places, is_train[first] & ~is_train, first, files, lines, names=names)


def _told(
    kind: WarningKind,
    places: Places,
    chosen: npt.NDArray[np.bool_],
    first: Places,
    files: npt.NDArray[np.int16],
    lines: Places,
    *,
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """In the order of the rows."""
    which = np.flatnonzero(chosen)
    which = which[np.argsort(places[which], kind="stable")]
    for start in range(0, len(which), READ_ROWS):
        part = which[start : start + READ_ROWS]
        others = first[part]
        where = [
            f"line {line:,}" if file == other else f"line {line:,} of {names[other]}"
            for file, other, line in zip(files[part].tolist(), files[others].tolist(), lines[others].tolist(), strict=True)
        ]
        reasons = list(map(WORDS[kind].format, where))
        yield repeated_problems(kind, files=files[part], lines=lines[part], reasons=reasons, fix=FIXES[kind])


def _digests(path: Path) -> Iterator[Keyed]:
    for place, batch in _read(path, ["digest", "file", "line"]):
        words = words_in(batch.column("digest"), width=2)
        yield Keyed(words[:, 0].copy(), place, (words[:, 1].copy(), *_numbers(batch)))


def _asked(path: Path) -> Iterator[Keyed]:
    """Rows that ask nothing, so that all of them would be equal, are passed over."""
    nothing = [np.frombuffer(digest, np.uint64)[0] for digest in NOTHING_ASKED]
    for place, batch in _read(path, ["asked", "file", "line", "split"]):
        keys = words_in(batch.column("asked"), width=1)[:, 0].copy()
        is_train = pc.equal(batch.column("split").cast(pa.string()), TRAIN).to_numpy(zero_copy_only=False)
        yield Keyed(keys, place, (is_train, *_numbers(batch))).only(~np.isin(keys, nothing))


def _read(path: Path, columns: list[str]) -> Iterator[tuple[Places, Any]]:
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS, columns=columns):
            yield np.arange(start, start + batch.num_rows), batch
            start += batch.num_rows


def _numbers(batch: Any) -> tuple[npt.NDArray[Any], ...]:
    return tuple(batch.column(name).to_numpy() for name in ("file", "line"))
