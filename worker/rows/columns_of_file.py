"""The short columns of a rows file as arrays: what decides which rows go where, without the rows themselves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Digests = npt.NDArray[np.void]


@dataclass(frozen=True)
class Keys:
    """One entry a row: 16 bytes, 8 bytes, and the name of its split."""

    digest: npt.NDArray[np.uint64]
    """(rows, 2)"""
    asked: npt.NDArray[np.uint64]
    split: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.asked)


def keys_of(path: Path) -> Keys:
    """24 bytes a row and a little more: 20 million rows take half a gigabyte."""
    table = pq.read_table(path, columns=["digest", "asked", "split"])
    return Keys(
        digest=_numbers(table.column("digest"), width=16).reshape(-1, 2),
        asked=_numbers(table.column("asked"), width=8),
        split=np.asarray(table.column("split").to_pylist(), dtype=np.str_),
    )


def _numbers(column: pa.ChunkedArray, *, width: int) -> npt.NDArray[np.uint64]:
    parts = [_chunk(chunk, width=width) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _chunk(chunk: pa.Array, *, width: int) -> npt.NDArray[np.uint64]:
    """A chunk may begin in the middle of its buffer."""
    data = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
    return data[chunk.offset * width : (chunk.offset + len(chunk)) * width].view(np.uint64)


def first_of_each(digest: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """True for the first of each group of equal rows."""
    order = np.lexsort((digest[:, 1], digest[:, 0]))  # stable: equal rows keep their order
    ordered = digest[order]
    is_first = np.ones(len(digest), dtype=bool)
    is_first[order[1:]] = np.any(ordered[1:] != ordered[:-1], axis=1)
    return is_first
