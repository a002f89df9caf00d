"""What differs between two rows files: rows added, removed, changed (asked the same, answered otherwise), moved to another split."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from worker.contract.derived import MOST_SHOWN, DiffReport, DiffTask, RowChange
from worker.rows.columns_of_file import Places, Words, in_runs, splits_of, words_of
from worker.rows.rows_file import count_rows


def diff(task: DiffTask, *, folder: Path) -> DiffReport:
    before, after = folder / task.before, folder / task.after
    kept_before, kept_after = _paired(words_of(before, column="digest"), words_of(after, column="digest"))
    removed, added = _others(count_rows(before), kept_before), _others(count_rows(after), kept_after)
    asked = words_of(before, column="asked")[removed], words_of(after, column="asked")[added]
    changed_before, changed_after = _paired(*asked)
    changed = removed[changed_before], added[changed_after]
    removed, added = np.setdiff1d(removed, changed[0]), np.setdiff1d(added, changed[1])
    is_moved = pc.not_equal(splits_of(before).take(kept_before), splits_of(after).take(kept_after)).to_numpy()
    moved = kept_before[is_moved], kept_after[is_moved]
    return DiffReport(
        kept=len(kept_before),
        added=len(added),
        removed=len(removed),
        changed=len(changed[0]),
        moved=len(moved[0]),
        shown_added=tuple(RowChange(after=int(place) + 1) for place in added[:MOST_SHOWN]),
        shown_removed=tuple(RowChange(before=int(place) + 1) for place in removed[:MOST_SHOWN]),
        shown_changed=_shown(*changed),
        shown_moved=_shown(*moved),
    )


def _paired(one: Words, other: Words) -> tuple[Places, Places]:
    """Places of equal keys, the first in the one with the first in the other and so on; in the order of the other."""
    order, begins = in_runs(np.concatenate([one, other]))
    runs, starts = np.cumsum(begins) - 1, np.flatnonzero(begins)
    is_other = order >= len(one)
    ones, others = (np.bincount(runs[side], minlength=len(starts)) for side in (~is_other, is_other))
    times_before = np.arange(len(order)) - starts[runs] - np.where(is_other, ones[runs], 0)  # a run has those of the one first
    paired = order[times_before < np.minimum(ones, others)[runs]]
    here, there = paired[paired < len(one)], paired[paired >= len(one)] - len(one)
    by_other = np.argsort(there)
    return here[by_other], there[by_other]


def _others(count: int, places: Places) -> Places:
    return np.setdiff1d(np.arange(count), places, assume_unique=True)


def _shown(before: Places, after: Places) -> tuple[RowChange, ...]:
    pairs = zip(before[:MOST_SHOWN], after[:MOST_SHOWN], strict=True)
    return tuple(RowChange(before=int(one) + 1, after=int(other) + 1) for one, other in pairs)
