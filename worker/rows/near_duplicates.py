"""Groups of rows that are nearly the same, by MinHash: signatures, bands of equal places on the disk, and a look at each pair that meets."""

import mmap
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from worker.contract.dataset_tasks import Progress
from worker.contract.near_duplicates import (
    MOST_GROUPS,
    MOST_ROWS,
    NEAR_FILE,
    TEXT_CHARS,
    NearDuplicatesReport,
    NearDuplicatesTask,
    NearGroup,
)
from worker.rows.equal_keys import Keyed, Places, firsts, sorted_shares
from worker.rows.near_examples import rows_at
from worker.rows.progress import Telling
from worker.rows.rows_file import count_rows
from worker.rows.sharing_out import PROCESSES, share_out
from worker.rows.signatures import BANDS, PLACES, Files, Signing, begin_signing, groups_of

SHARED_FROM_ROWS = 20_000
PAIRS_AT_ONCE = 100_000
READ_ROWS = 2**18
ALIKE_BY_CHANCE = 1 / 256  # two lowest bytes
SIGNING_SHARE = 0.8  # of the whole time


def find_near_duplicates(task: NearDuplicatesTask, *, folder: Path) -> NearDuplicatesReport:
    path, files = folder / task.rows, Files(folder)
    path.stat()  # Arrow's own error does not say which file is missing
    rows, tell = count_rows(path), Telling(folder)
    files.make()
    try:
        _sign_all(path, files=files, rows=rows, tell=tell)
        likes = _united(files, rows=rows, similarity=task.similarity, tell=tell)
    finally:
        files.remove()
    later = np.flatnonzero(likes != np.arange(rows))
    table = pa.table({"number": pa.array(later + 1, pa.int64()), "like": pa.array(likes[later] + 1, pa.int64())})
    pq.write_table(table, folder / NEAR_FILE, compression="zstd")
    return _report(path, likes=likes, later=later, similarity=task.similarity)


def _sign_all(path: Path, *, files: Files, rows: int, tell: Telling) -> None:
    done = 0
    processes = PROCESSES if rows >= SHARED_FROM_ROWS else 1
    for signed in share_out(groups_of(path), begin=begin_signing, settings=Signing(path, files), processes=processes):
        done += signed
        tell(Progress(done=round(done * SIGNING_SHARE), total=rows, words="Reading every row"))


def _united(files: Files, *, rows: int, similarity: float, tell: Telling) -> npt.NDArray[np.int32]:
    """For each row the first one of its group: itself, where it is like no other."""
    likes = np.arange(rows, dtype=np.int32)
    if rows == 0:
        return likes
    signatures = Signatures(files.low)
    for band in range(BANDS):
        for share in sorted_shares(partial(_keys, files.band(band)), rows=rows):
            for one, other in _meeting(share):
                _unite_similar(likes, one, other, signatures=signatures, similarity=similarity)
        done = SIGNING_SHARE + (1 - SIGNING_SHARE) * (band + 1) / BANDS
        tell(Progress(done=round(rows * done), total=rows, words="Comparing rows that look alike"))
    signatures.close()
    return _roots(likes, np.arange(rows, dtype=np.int32))


def _keys(path: Path) -> Iterator[Keyed]:
    start = 0
    with path.open("rb") as file:
        while part := file.read(8 * READ_ROWS):
            keys: npt.NDArray[np.uint64] = np.frombuffer(part, np.uint64)
            yield Keyed(keys, np.arange(start, start + len(keys)))
            start += len(keys)


def _meeting(share: Keyed) -> Iterator[tuple[Places, Places]]:
    """Each row with the first and with the one before of those that it meets: pairs grow with the rows, not with their square."""
    first, here = firsts(share.keys), np.arange(len(share.keys))
    meets = np.flatnonzero(first != here)
    for start in range(0, len(meets), PAIRS_AT_ONCE):
        part = meets[start : start + PAIRS_AT_ONCE]
        yield share.places[part], share.places[first[part]]
        beyond = part[part - 1 != first[part]]
        yield share.places[beyond], share.places[beyond - 1]


def _unite_similar(
    likes: npt.NDArray[np.int32], one: Places, other: Places, *, signatures: "Signatures", similarity: float
) -> None:
    apart = _roots(likes, one) != _roots(likes, other)
    one, other = one[apart], other[apart]
    near = signatures.similarity(one, other) >= similarity
    _unite(likes, one[near], other[near])


def _unite(likes: npt.NDArray[np.int32], one: Places, other: Places) -> None:
    """A group is known by its first row, so the later root goes under the earlier one."""
    while len(one):
        roots, others = _roots(likes, one), _roots(likes, other)
        apart = roots != others
        one, other, roots, others = one[apart], other[apart], roots[apart], others[apart]
        np.minimum.at(likes, np.maximum(roots, others), np.minimum(roots, others))


def _roots(likes: npt.NDArray[np.int32], places: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    roots: npt.NDArray[np.int32] = likes[places]
    while (above := likes[roots]).tobytes() != roots.tobytes():
        roots = above
    return roots


class Signatures:
    """The signatures of any rows, without keeping them all in memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(self._map, np.uint8).reshape(-1, PLACES)

    def similarity(self, one: Places, other: Places) -> npt.NDArray[np.float64]:
        alike = (self._rows[one] == self._rows[other]).mean(axis=1)
        self._map.madvise(mmap.MADV_DONTNEED)  # read pages count as this process's memory until they are given back
        return np.asarray((alike - ALIKE_BY_CHANCE) / (1 - ALIKE_BY_CHANCE), dtype=np.float64)

    def close(self) -> None:
        del self._rows
        self._map.close()


def _report(path: Path, *, likes: npt.NDArray[np.int32], later: Places, similarity: float) -> NearDuplicatesReport:
    sizes = Counter(likes[later].tolist())
    shown = sorted(sizes, key=lambda first: (-sizes[first], first))[:MOST_GROUPS]
    members = {first: _members(likes, later, first) for first in shown}
    texts = rows_at(path, sorted({place for places in members.values() for place in places}), chars=TEXT_CHARS)
    return NearDuplicatesReport(
        rows=len(likes),
        groups=len(sizes),
        left_out=len(later),
        similarity=similarity,
        examples=tuple(NearGroup(size=sizes[first] + 1, rows=tuple(texts[place] for place in members[first])) for first in shown),
    )


def _members(likes: npt.NDArray[np.int32], later: Places, first: int) -> list[int]:
    return [first, *later[likes[later] == first][: MOST_ROWS - 1].tolist()]
