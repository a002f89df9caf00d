"""The problems file: every row that cannot be used, with its source, and every warning about one that can."""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from worker.contract.rows_report import RowProblem

PROBLEMS_A_GROUP = 4096
GROUP_BYTES = 8 * 2**20
SCHEMA = pa.schema(
    [
        pa.field("file", pa.int16(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("is_warning", pa.bool_(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("fix", pa.string(), nullable=False),
        pa.field("raw", pa.large_binary(), nullable=False),
    ]
)


@dataclass
class ProblemsWriter:
    """A warning leaves its row usable. `raw` is the row as it stood in its file, for whoever mends it."""

    path: Path
    problems: int = 0
    warnings: int = 0
    _kept: list[dict[str, Any]] = field(default_factory=list)
    _batches: list[pa.RecordBatch] = field(default_factory=list)
    _bytes: int = 0
    _writer: Any = None

    def add(self, problem: RowProblem, *, raw: bytes = b"", is_warning: bool = False) -> None:
        values = problem.model_dump()
        self._kept.append({**values, "is_warning": is_warning, "raw": raw})
        self._bytes += len(raw)
        self.warnings += is_warning
        self.problems += not is_warning
        if len(self._kept) >= PROBLEMS_A_GROUP or self._bytes >= GROUP_BYTES:
            self._flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Problems in the file's own columns. Small batches are gathered to a group."""
        warnings = int(pa.compute.sum(batch.column("is_warning"), min_count=0).as_py())
        self.warnings += warnings
        self.problems += batch.num_rows - warnings
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if sum(kept.num_rows for kept in self._batches) >= PROBLEMS_A_GROUP or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._kept:
            self._batches.append(pa.RecordBatch.from_pylist(self._kept, schema=SCHEMA))
        if self._batches:
            self._open().write_table(pa.Table.from_batches(self._batches, schema=SCHEMA), row_group_size=PROBLEMS_A_GROUP)
        self._kept, self._batches, self._bytes = [], [], 0

    def _open(self) -> Any:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, SCHEMA, compression="zstd")
        return self._writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._flush()
            self._open()
        if self._writer is not None:
            self._writer.close()
