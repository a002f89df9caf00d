"""Rows far longer than the others: kept as four bytes each on the disk, judged when all are there."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from worker.rows.findings import Finding, as_problems

VERY_LONG = 1_000_000  # bytes: about 250,000 tokens, more than any model here can be trained on
FAR_ABOVE, AT_LEAST, ENOUGH_ROWS = 10, 20_000, 100  # times the 99th percentile; bytes; rows that make a percentile
STEPS = 64  # of a doubling: the percentile is right to 1.1 %
READ_ROWS = 65_536


class Lengths:
    """`with` removes the file again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb+")
        self._counts = np.zeros(34 * STEPS, np.int64)
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        column = batch.column("row")
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        lengths = np.diff(offsets).astype(np.uint32)
        self._file.write(lengths.tobytes())
        self._counts += np.bincount((np.log2(np.maximum(lengths, 1)) * STEPS).astype(np.int64), minlength=len(self._counts))
        self.rows += len(lengths)

    def usual(self) -> int:
        """What 99 of 100 rows are shorter than."""
        step = int(np.searchsorted(np.cumsum(self._counts), 0.99 * self.rows))
        return int(2 ** ((step + 1) / STEPS))

    def limit(self) -> int:
        return min(VERY_LONG, max(FAR_ABOVE * self.usual(), AT_LEAST)) if self.rows >= ENOUGH_ROWS else VERY_LONG

    def long_rows(self) -> Iterator[tuple[int, int]]:
        """Number (from 0) and length."""
        limit, start = self.limit(), 0
        self._file.seek(0)
        while part := self._file.read(4 * READ_ROWS):
            lengths: npt.NDArray[np.uint32] = np.frombuffer(part, np.uint32)
            for place in np.flatnonzero(lengths > limit).tolist():
                yield start + place, int(lengths[place])
            start += len(lengths)

    def problems(self, rows_path: Path) -> Iterator[pa.RecordBatch]:
        """A warning for each of them."""
        found, start = self.long_rows(), 0
        wanted = next(found, None)
        if wanted is None:
            return
        with pq.ParquetFile(rows_path) as file:
            for batch in file.iter_batches(batch_size=READ_ROWS, columns=["file", "line"]):
                told = []
                while wanted and wanted[0] < start + batch.num_rows:
                    told.append(self._told(batch, wanted[0] - start, length=wanted[1]))
                    wanted = next(found, None)
                if told:
                    yield as_problems(told)
                start += batch.num_rows

    def _told(self, batch: Any, place: int, *, length: int) -> Finding:
        file, line = (batch.column(name)[place].as_py() for name in ("file", "line"))
        usual = f"; 99 of 100 rows are shorter than {_size(self.usual())}" if self.rows >= ENOUGH_ROWS else ""
        reason = f"The row is {_size(length)} long{usual}. What is beyond the job's maximum length is cut off or left out."
        return Finding(file, line, "very_long", reason, "Look whether it is one row, and split it if not.", is_warning=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def _size(length: int) -> str:
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.1f} kB"
