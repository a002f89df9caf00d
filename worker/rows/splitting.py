"""Which rows are held out: whole groups of rows that ask the same, in proportion where a column is to be kept in balance."""

from array import array
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from worker.contract.derived import Split
from worker.rows.columns_of_file import Words
from worker.rows.whole_files import batches_of


class CannotSplit(Exception):
    """The sentence for the page."""


def held_out(asked: Words, *, split: Split, path: Path) -> npt.NDArray[np.bool_]:
    """As many rows as asked for, or a few more where the last group has several; at least one stays on each side."""
    rows = len(asked)
    count = split.count if split.count is not None else max(1, round(rows * float(split.share or 0)))
    if count >= rows:
        raise CannotSplit(f"There are {rows:,} rows: at most {rows - 1:,} of them can be held out.")
    chosen = np.zeros(rows, dtype=bool)
    random = np.random.default_rng(split.seed)
    strata = _strata(path, column=split.stratify_by) if split.stratify_by else {"": np.arange(rows)}
    for wanted, places in zip(_shares([len(places) for places in strata.values()], count=count), strata.values(), strict=True):
        _choose(places, wanted=wanted, asked=asked[:, 0], chosen=chosen, random=random)
    if chosen.all():
        raise CannotSplit("All rows ask the same, so they cannot be on two sides.")
    return chosen


def _choose(
    places: npt.NDArray[np.int64],
    *,
    wanted: int,
    asked: npt.NDArray[np.uint64],
    chosen: npt.NDArray[np.bool_],
    random: np.random.Generator,
) -> None:
    groups, belongs, sizes = np.unique(asked[places], return_inverse=True, return_counts=True)
    order = random.permutation(len(groups))
    taken = np.searchsorted(np.cumsum(sizes[order]), wanted) + 1 if wanted else 0
    chosen[places] |= np.isin(belongs, order[:taken])


def _shares(sizes: list[int], *, count: int) -> list[int]:
    """`count` shared out in proportion: the largest remainders get what rounding leaves."""
    exact = [size * count / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    by_rest = sorted(range(len(sizes)), key=lambda place: shares[place] - exact[place])
    for place in by_rest[: count - sum(shares)]:
        shares[place] += 1
    return shares


def _strata(path: Path, *, column: str) -> dict[str, npt.NDArray[np.int64]]:
    """Places of the rows with each value of the column; a row without it is a value of its own."""
    found: dict[str, array[int]] = defaultdict(lambda: array("q"))
    place = 0
    for batch in batches_of(path, columns=["extra"]):
        for extra in batch.column("extra").to_pylist():
            found[str(orjson.loads(extra).get(column))].append(place)
            place += 1
    if set(found) == {"None"}:
        raise CannotSplit(f"No row has a column {column}, so it cannot be kept in balance.")
    return {value: np.frombuffer(places, np.int64) for value, places in found.items()}
