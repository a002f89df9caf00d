"""Equal keys among any number of rows, in bounded memory: the keys stay on the disk and are read a share at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ROWS_A_SHARE = 500_000  # about 50 MB while they are sorted
Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class Keyed(NamedTuple):
    """Some rows: a key of 64 well-mixed bits for each, its number from 0, and whatever else is to come along."""

    keys: Keys
    places: Places
    others: tuple[npt.NDArray[Any], ...] = ()

    def only(self, wanted: Any) -> "Keyed":
        return Keyed(self.keys[wanted], self.places[wanted], tuple(other[wanted] for other in self.others))


def sorted_shares(read: Callable[[], Iterable[Keyed]], *, rows: int) -> Iterator[Keyed]:
    """All rows, those of equal keys beside each other and in their order. `read` is called once for each share."""
    shares = max(1, -(-rows // ROWS_A_SHARE))
    for share in range(shares):
        chosen = [some.only(_in_share(some.keys, share, shares)) for some in read()]
        everything = _joined(chosen)
        order = np.argsort(everything.keys, kind="stable")
        yield everything.only(order)


def _in_share(keys: Keys, share: int, shares: int) -> Any:
    return slice(None) if shares == 1 else (keys >> np.uint64(32)) * np.uint64(shares) >> np.uint64(32) == share


def _joined(chosen: list[Keyed]) -> Keyed:
    if not chosen:
        return Keyed(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    others = tuple(np.concatenate(parts) for parts in zip(*(some.others for some in chosen), strict=True))
    return Keyed(np.concatenate([some.keys for some in chosen]), np.concatenate([some.places for some in chosen]), others)


def firsts(keys: npt.NDArray[Any]) -> Places:
    """Of sorted keys: for each place the place where its run of equal keys begins."""
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = keys[1:] != keys[:-1]
    return np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))
