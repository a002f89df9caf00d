"""The problems file: every row that cannot be used, with its source, and every warning about one that can."""

from dataclasses import dataclass, field
from types import MappingProxyType

import pyarrow as pa

from worker.rows.whole_files import WholeFile

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
class ProblemsWriter(WholeFile):
    """A warning leaves its row usable. `raw` is the row as it stood in its file, for whoever mends it."""

    _batches: list[pa.RecordBatch] = field(default_factory=list)
    _kept: int = 0
    _bytes: int = 0
    schema = SCHEMA
    options = MappingProxyType({})

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Small batches are gathered to a group."""
        self._batches.append(batch)
        self._kept += batch.num_rows
        self._bytes += batch.nbytes
        if self._kept >= PROBLEMS_A_GROUP or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, schema=SCHEMA), row_group_size=PROBLEMS_A_GROUP)
        self._batches, self._kept, self._bytes = [], 0, 0
