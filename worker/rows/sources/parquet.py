"""Parquet: batches of rows that fit memory, and the bounds on what a small file may claim or turn into."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from worker.rows.errors import FileRefused
from worker.rows.sources.arrow_rows import ArrowBlock, dense, has_bytes
from worker.rows.sources.delimited import MAX_COLUMNS
from worker.rows.sources.expanding import damaged, refuse_bombs
from worker.rows.sources.jsonl import ItemBlock
from worker.rows.sources.lines import BLOCK_BYTES

MAX_FOOTER_BYTES = 64 * 1024**2
MAX_THRIFT_ITEMS = 1_000_000
MAX_NESTING = 32
MAX_BATCH_ROWS = 512  # a dictionary makes long rows of short ones, which the footer does not tell
ROW_COSTS = 512  # bytes of ours for a row that takes none in the file
BUFFER_BYTES = 1024**2
OUR_COLUMNS = {"row", "file", "line", "split", "digest"}


def parquet_blocks(
    path: Path, *, file: int, told: Callable[[float], None], say: Callable[[str], None]
) -> Iterator[ArrowBlock | ItemBlock]:
    """`told` hears how much of the file is read, from 0 to 1."""
    try:
        yield from _blocks(path, file=file, told=told, say=say)
    except MemoryError as error:
        reason = "A few rows of the Parquet file take more memory than there is."
        raise FileRefused("too_large", reason=reason, fix="Write it anew with smaller rows.") from error
    except (pa.ArrowException, OSError, EOFError) as error:
        raise damaged("Parquet file", " ".join(str(error).split())[:300].rstrip(".")) from error


def _blocks(
    path: Path, *, file: int, told: Callable[[float], None], say: Callable[[str], None]
) -> Iterator[ArrowBlock | ItemBlock]:
    opened = _opened(path)
    claimed, size, read, expanded = opened.metadata.num_rows, path.stat().st_size, 0, 0
    ours = set(opened.schema_arrow.names) >= OUR_COLUMNS and b"format" in (opened.schema_arrow.metadata or {})
    columns = ["row"] if ours else None
    _say_bytes(opened, say=say)
    if claimed == 0:
        raise FileRefused("empty", reason="The Parquet file has no rows.", fix="Write it anew with rows.")
    for batch in opened.iter_batches(batch_size=_rows_a_batch(opened), columns=columns, use_threads=False):
        batch = dense(batch)
        expanded += batch.nbytes + ROW_COSTS * batch.num_rows
        refuse_bombs(expanded, packed=size, name="Parquet file")
        yield (
            ItemBlock(file, read + 1, batch.column(0).cast(pa.binary()).to_pylist()) if ours else ArrowBlock(file, read + 1, batch)
        )
        read += batch.num_rows
        told(min(1.0, read / max(claimed, 1)))
    if read != claimed:
        raise damaged("Parquet file", f"it claims {claimed:,} rows and has {read:,}")


def _opened(path: Path) -> pq.ParquetFile:
    _refuse_large_footer(path)
    opened = pq.ParquetFile(
        path,
        buffer_size=BUFFER_BYTES,
        thrift_string_size_limit=MAX_FOOTER_BYTES,
        thrift_container_size_limit=MAX_THRIFT_ITEMS,
        page_checksum_verification=True,
    )
    metadata = opened.metadata
    if metadata.num_columns > MAX_COLUMNS:
        reason = f"The Parquet file has {metadata.num_columns:,} columns; {MAX_COLUMNS:,} are the most."
        raise FileRefused("bad_table", reason=reason, fix="Keep the columns that the rows need.")
    in_groups = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    if in_groups != metadata.num_rows:
        raise damaged("Parquet file", f"it claims {metadata.num_rows:,} rows, its groups together {in_groups:,}")
    _refuse_equal_names([(field.name, field.type) for field in opened.schema_arrow], place="", depth=0)
    return opened


def _refuse_large_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        end = file.read(8)
    if size < 12 or end[4:] not in (b"PAR1", b"PARE"):
        raise damaged("Parquet file", "its end is missing")
    if end[4:] == b"PARE":
        raise FileRefused("binary", reason="The Parquet file is encrypted.", fix="Write it without encryption.")
    if int.from_bytes(end[:4], "little") > min(MAX_FOOTER_BYTES, size - 12):
        raise damaged("Parquet file", "its footer claims to be larger than it can be")


def _refuse_equal_names(fields: list[tuple[str, pa.DataType]], *, place: str, depth: int) -> None:
    if depth > MAX_NESTING:
        raise FileRefused("bad_table", reason=f"The columns are nested more than {MAX_NESTING} deep.", fix="Flatten them.")
    names = [name for name, _ in fields]
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        reason = f"Two columns are called “{(place + twice)[:200]}”, so one of them would be lost."
        raise FileRefused("bad_table", reason=reason, fix="Rename one of them.")
    for name, type in fields:
        inner = [(type.field(number).name, type.field(number).type) for number in range(type.num_fields)]
        if inner and not pa.types.is_map(type):
            _refuse_equal_names(inner, place=f"{place}{name}.", depth=depth + 1)


def _rows_a_batch(opened: pq.ParquetFile) -> int:
    metadata = opened.metadata
    claimed = sum(int(metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    average = max(1, claimed // max(1, int(metadata.num_rows)))
    return max(1, min(MAX_BATCH_ROWS, BLOCK_BYTES // average))


def _say_bytes(opened: pq.ParquetFile, *, say: Callable[[str], None]) -> None:
    names = [field.name for field in opened.schema_arrow if has_bytes(field.type)]
    if names:
        shown = ", ".join(names[:5])[:200]
        say(f"Bytes in {shown} were read as text where they are UTF-8, and left out where they are not, as in images.")
