"""What differs between two rows files: rows added, removed, changed (asked the same, answered otherwise), moved to another split."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from worker.contract.derived import MOST_SHOWN, DiffReport, DiffTask, RowChange
from worker.rows.columns_of_file import keys_of

Places = npt.NDArray[np.int64]


def diff(task: DiffTask, *, folder: Path) -> DiffReport:
    before, after = keys_of(folder / task.before), keys_of(folder / task.after)
    kept_before, kept_after = _paired(_occurrences(before.digest), _occurrences(after.digest))
    removed, added = _others(len(before), kept_before), _others(len(after), kept_after)
    changed_before, changed_after = _paired(_occurrences(before.asked[removed, None]), _occurrences(after.asked[added, None]))
    changed = removed[changed_before], added[changed_after]
    removed, added = np.setdiff1d(removed, changed[0]), np.setdiff1d(added, changed[1])
    is_moved = before.split[kept_before] != after.split[kept_after]
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


def _occurrences(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.void]:
    """Each key with how often it stood before: the second of two equal rows is told apart from the first."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    starts = np.flatnonzero(begins)
    times = np.empty(len(keys), dtype=np.uint64)
    times[order] = np.arange(len(keys)) - np.repeat(starts, np.diff([*starts, len(keys)]))
    both = np.column_stack([keys, times])
    return both.view([(f"f{column}", np.uint64) for column in range(both.shape[1])])[:, 0]


def _paired(one: npt.NDArray[np.void], other: npt.NDArray[np.void]) -> tuple[Places, Places]:
    """Places of what is in both, in the order of the second."""
    _, here, there = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    order = np.argsort(there)
    return here[order], there[order]


def _others(count: int, places: Places) -> Places:
    return np.setdiff1d(np.arange(count), places, assume_unique=True)


def _shown(before: Places, after: Places) -> tuple[RowChange, ...]:
    pairs = zip(before[:MOST_SHOWN], after[:MOST_SHOWN], strict=True)
    return tuple(RowChange(before=int(one) + 1, after=int(other) + 1) for one, other in pairs)
