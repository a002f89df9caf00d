"""Some rows of a rows file as a line of text each, to be shown."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from worker.contract.near_duplicates import NearRow
from worker.rows.secrets import texts_of
from worker.rows.shown import escaped

NAMES = ("role", "name", "type", "id", "tool_call_id")  # of a message: not what is said


def rows_at(path: Path, places: Sequence[int], *, chars: int) -> dict[int, NearRow]:
    """By place from 0; the places in their order."""
    found, first = {}, 0
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            count = file.metadata.row_group(number).num_rows
            here = [place for place in places if first <= place < first + count]
            if here:
                group = file.read_row_group(number, columns=["row", "file", "line"])
                for place in here:
                    row, source, line = (group.column(name)[place - first].as_py() for name in ("row", "file", "line"))
                    found[place] = NearRow(number=place + 1, file=source, line=line, text=_text(row, chars=chars))
            first += count
    return found


def _text(row: str, *, chars: int) -> str:
    said = (text for column, text in texts_of(orjson.loads(row)) if not column.endswith(NAMES))
    return escaped(" ".join(" ".join(said).split()), limit=chars)
