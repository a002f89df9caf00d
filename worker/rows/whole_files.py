"""A Parquet file of this room: there whole once its writer is closed, and not at all when an error ended the writing.

Row groups are small (ROWS_A_GROUP or GROUP_BYTES), so that any page of millions of rows is one short read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_GROUP = 4096
GROUP_BYTES = 8 * 2**20


def batches_of(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """One group in memory at a time. Arrow alone would fill a batch from many groups, however long their rows are."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=ROWS_A_GROUP, row_groups=[group], columns=columns)


@dataclass
class WholeFile:
    """Use it with `with`. A file without a single batch has its columns nevertheless."""

    path: Path
    rows: int = field(default=0, init=False)
    _batches: list[pa.RecordBatch] = field(default_factory=list, init=False)
    _kept: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)
    _writer: pq.ParquetWriter = field(init=False)
    schema: ClassVar[pa.Schema]
    options: ClassVar[Mapping[str, Any]]

    def metadata(self) -> dict[str, str]:
        return {}

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Rows in the file's own columns. Small batches are gathered to a group."""
        if self._kept + batch.num_rows > ROWS_A_GROUP or self._bytes + batch.nbytes > GROUP_BYTES:
            self._flush()
        if batch.num_rows:
            self._batches.append(batch)
        self._kept += batch.num_rows
        self._bytes += batch.nbytes
        self.rows += batch.num_rows

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, schema=self.schema), row_group_size=ROWS_A_GROUP)
        self._batches, self._kept, self._bytes = [], 0, 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self.path, self.schema.with_metadata(self.metadata()), compression="zstd", **self.options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        is_whole = False
        try:
            with self._writer:  # closing writes a footer, whatever was written before it
                if error is None:
                    self._flush()
            is_whole = error is None
        finally:
            if not is_whole:
                self.path.unlink()
