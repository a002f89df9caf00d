"""A version's rows as JSONL, a group at a time: for versions that have no file of their own."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq


def as_jsonl(path: Path) -> Iterator[bytes]:
    """Rows in the names of TRL, one on each line."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["row"]).column("row")
            yield b"".join(row.as_py().encode() + b"\n" for row in rows)
