"""The rows file: the usable rows of a dataset version in one Parquet file, which pages, statistics and the trainer read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worker.contract.dataset import RowFormat
from worker.rows.canonical import as_canonical, asked_of, from_canonical
from worker.rows.errors import FileRefused
from worker.rows.row import Row
from worker.rows.whole_files import GROUP_BYTES, ROWS_A_GROUP, WholeFile, batches_of

SAMPLED_GROUPS = 16
TRAIN = "train"
SCHEMA = pa.schema(
    [
        pa.field("row", pa.large_string(), nullable=False),
        pa.field("file", pa.int16(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("split", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("digest", pa.binary(16), nullable=False),
        pa.field("asked", pa.binary(8), nullable=False),
        pa.field("extra", pa.large_string(), nullable=False),
    ]
)
NOTHING_ASKED = tuple(blake2b(orjson.dumps(empty), digest_size=8).digest() for empty in ((), ""))
"""`asked` of rows that begin with their answer: equal for all of them, and meaning nothing."""


@dataclass(frozen=True)
class Stored:
    """A row on its way into the file, or out of it. `row` is canonical JSON."""

    row: bytes
    digest: bytes
    """16 bytes: equal for equal rows."""
    asked: bytes
    """8 bytes: equal for rows that ask the same."""
    file: int = 0
    line: int = 1
    split: str = TRAIN
    extra: bytes = b"{}"
    """JSON of the columns that are not part of the row."""


def stored(row: Row, *, file: int = 0, line: int = 1, split: str = TRAIN, extra: bytes = b"{}") -> Stored:
    value = as_canonical(row)
    raw = orjson.dumps(value)
    return Stored(
        row=raw,
        digest=blake2b(raw, digest_size=16).digest(),
        asked=blake2b(orjson.dumps(asked_of(row)), digest_size=8).digest(),
        file=file,
        line=line,
        split=split,
        extra=extra,
    )


@dataclass
class Columns:
    """Rows of one file on their way to a batch, column by column: a fourth of the time of an object for each row."""

    rows: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    extras: list[bytes] = field(default_factory=list)
    size: int = 0

    @cached_property
    def joined(self) -> bytes:
        return b"".join(self.rows)

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where in `joined` each row ends."""
        return np.cumsum(np.fromiter(map(len, self.rows), np.int64, len(self.rows)))

    def batch(self, *, file: int, split: str) -> pa.RecordBatch:
        count = len(self.rows)
        offsets = np.concatenate((np.zeros(1, np.int64), self.ends))
        fixed = ((self.digests, 16), (self.asked, 8))
        digests, asked = (
            pa.Array.from_buffers(pa.binary(width), count, [None, pa.py_buffer(b"".join(values))]) for values, width in fixed
        )
        columns = [
            pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(self.joined)),
            pa.array(np.full(count, file, np.int16)),
            pa.array(np.fromiter(self.lines, np.int64, count)),
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([split])),
            digests,
            asked,
            pa.array(self.extras, pa.large_binary()).view(pa.large_string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@dataclass
class RowsWriter(WholeFile):
    """Rows one by one or in batches, not both."""

    format: RowFormat
    _items: list[Stored] = field(default_factory=list, init=False)
    _item_bytes: int = field(default=0, init=False)
    schema = SCHEMA
    options = MappingProxyType({"compression_level": 1, "use_dictionary": ["split"]})

    def metadata(self) -> dict[str, str]:
        return {"format": self.format}

    def add(self, item: Stored) -> None:
        self._items.append(item)
        self._item_bytes += len(item.row) + len(item.extra)
        if len(self._items) >= ROWS_A_GROUP or self._item_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        items, self._items, self._item_bytes = self._items, [], 0
        if items:
            self.add_batch(as_batch(items))
        super()._flush()


def as_batch(items: Sequence[Stored]) -> pa.RecordBatch:
    splits = pa.array([item.split for item in items], pa.string()).dictionary_encode()
    columns = [
        pa.array([item.row for item in items], pa.large_binary()).view(pa.large_string()),
        pa.array([item.file for item in items], pa.int16()),
        pa.array([item.line for item in items], pa.int64()),
        pa.DictionaryArray.from_arrays(splits.indices.cast(pa.int8()), splits.dictionary),
        pa.array([item.digest for item in items], pa.binary(16)),
        pa.array([item.asked for item in items], pa.binary(8)),
        pa.array([item.extra for item in items], pa.large_binary()).view(pa.large_string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@dataclass(frozen=True)
class FiledRow:
    """A row of the file. `number` counts from 1 over the whole file."""

    number: int
    row: Row
    split: str


def is_rows_file(path: Path) -> bool:
    """A Parquet file that this room wrote; other Parquet files are sources."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return False
    try:
        return _format_in(pq.ParquetFile(path)) is not None
    except (pa.ArrowException, OSError):
        return False


def format_of(path: Path) -> RowFormat:
    found = _format_in(_opened(path))
    if found is None:
        raise FileRefused("unreadable", reason="The rows file does not say what its rows are.")
    return found


def count_rows(path: Path) -> int:
    return int(_opened(path).metadata.num_rows)


def read_rows_file(path: Path) -> Iterator[FiledRow]:
    """All rows in their order; one group in memory at a time."""
    format, number = format_of(path), 0
    for batch in batches_of(path, columns=["row", "split"]):
        for raw, split in zip(batch.column("row"), batch.column("split"), strict=True):
            number += 1
            yield FiledRow(number, from_canonical(orjson.loads(raw.as_py()), format=format), split.as_py())


def numbers_trained_on(path: Path) -> npt.NDArray[np.int64]:
    """Of the rows that no split holds out: 1 is the first row of the file."""
    split = _opened(path).read(columns=["split"]).column("split")
    return cast("npt.NDArray[np.int64]", np.flatnonzero(pc.equal(split, TRAIN).to_numpy()) + 1)


def sample_rows(path: Path, *, rows: int) -> Iterator[Row]:
    """About that many rows to train on from groups all over the file, without reading the others; all of a file that has no more."""
    file, format = _opened(path), format_of(path)
    share = min(rows / max(file.metadata.num_rows, 1), 1.0)
    groups = min(file.num_row_groups, SAMPLED_GROUPS if share < 1 else file.num_row_groups)
    wanted = file.metadata.num_rows if share == 1 else -(-rows // groups)
    for place in range(groups):
        group = file.read_row_group(place * file.num_row_groups // groups, columns=["row", "split"])
        raws = group.filter(pc.equal(group.column("split"), TRAIN)).column("row")
        step = max(len(raws) // max(wanted, 1), 1)
        for raw in raws[:wanted] if step == 1 else raws.take(list(range(0, len(raws), step))[:wanted]):
            yield from_canonical(orjson.loads(raw.as_py()), format=format)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused("unreadable", reason=f"The rows file cannot be read: {error}."[:500]) from error


def _format_in(file: pq.ParquetFile) -> RowFormat | None:
    kept = (file.schema_arrow.metadata or {}).get(b"format")
    return cast(RowFormat, kept.decode()) if kept else None
