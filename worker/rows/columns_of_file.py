"""The short columns of a rows file as arrays: what decides which rows go where, without the rows themselves."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from worker.rows.whole_files import batches_of

Words = npt.NDArray[np.uint64]
"""(rows, words): a digest is two, `asked` is one."""
Places = npt.NDArray[np.int64]


def words_of(path: Path, *, column: str) -> Words:
    """Of the whole file: 16 bytes a row for the digests, 8 for `asked`."""
    metadata = pq.read_metadata(path)
    width = pq.read_schema(path).field(column).type.byte_width // 8
    found, start = np.empty((metadata.num_rows, width), np.uint64), 0
    for batch in batches_of(path, columns=[column]):
        found[start : start + batch.num_rows] = words_in(batch.column(column), width=width)
        start += batch.num_rows
    return found


def words_in(column: pa.Array, *, width: int) -> Words:
    """A column of fixed bytes as numbers of 64 bits. It may begin in the middle of its buffer."""
    start = column.offset * width
    return np.frombuffer(column.buffers()[1], np.uint64)[start : start + len(column) * width].reshape(-1, width)


def splits_of(path: Path) -> pa.ChunkedArray:
    """The name of each row's split."""
    return pa.chunked_array([batch.column("split").cast(pa.string()) for batch in batches_of(path, columns=["split"])], pa.string())


def in_runs(words: Words) -> tuple[Places, npt.NDArray[np.bool_]]:
    """The order that brings equal keys together, each run in the order of the rows; and which places of it begin a run."""
    order = np.lexsort(words.T)
    begins = np.zeros(len(words), dtype=bool)
    begins[:1] = True
    for word in words.T:
        ordered = word[order]
        begins[1:] |= ordered[1:] != ordered[:-1]
    return order, begins


def first_of_each(words: Words) -> npt.NDArray[np.bool_]:
    """True for the first of each group of equal rows."""
    order, begins = in_runs(words)
    is_first = np.empty(len(words), dtype=bool)
    is_first[order] = begins
    return is_first
