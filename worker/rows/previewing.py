"""Rows as the report shows them: a few turns of each, cut."""

from typing import Any

import orjson
import pyarrow as pa

from worker.contract.dataset import RowFormat
from worker.contract.rows_report import PreviewRow
from worker.rows.canonical import from_canonical
from worker.rows.row_turns import turns_of_row


def preview_of(batch: pa.RecordBatch, *, format: RowFormat, most: int) -> list[PreviewRow]:
    """Of the first rows of a batch that is on its way into the rows file."""
    first: Any = batch.slice(0, most).select(["row", "line"])
    pairs = zip(first.column("row"), first.column("line"), strict=True)
    return [
        PreviewRow(line=line.as_py(), turns=turns_of_row(from_canonical(orjson.loads(row.as_py()), format=format)))
        for row, line in pairs
    ]
