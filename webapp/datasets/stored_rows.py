"""Reads single rows out of a version's rows file, whatever its size: one group of rows at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq


def rows_numbered(path: Path, numbers: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with those numbers (1 is the first), in the names of worker.rows.canonical. Numbers that no row has are left out."""
    with pq.ParquetFile(path) as file:
        wanted, first = sorted(set(numbers)), 1
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            here = [number for number in wanted if first <= number < first + count]
            if here:
                rows = file.read_row_group(group, columns=["row"]).column("row")
                yield from ((number, orjson.loads(rows[number - first].as_py())) for number in here)
            first += count
