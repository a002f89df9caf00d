"""A rows file or problems file is there whole or not at all."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.rows.problems_file import SCHEMA, ProblemsWriter
from worker.rows.row import Row
from worker.rows.rows_file import RowsWriter, format_of, stored

ROW = stored(Row("text", text="t"))


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    with RowsWriter(tmp_path / "rows", "text"), ProblemsWriter(tmp_path / "problems"):
        pass
    assert format_of(tmp_path / "rows") == "text"
    assert pq.read_table(tmp_path / "problems").schema.names == SCHEMA.names


def test_an_error_while_writing_leaves_no_file(tmp_path: Path) -> None:
    def write() -> None:
        with RowsWriter(tmp_path / "rows", "text") as writer:
            writer.add(ROW)
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert not (tmp_path / "rows").exists()


def test_an_error_in_the_last_rows_leaves_no_file(tmp_path: Path) -> None:
    def write() -> None:
        with RowsWriter(tmp_path / "rows", "text") as writer:
            writer.add(replace(ROW, digest=b"short"))  # found out at the end, when they are written

    with pytest.raises(pa.ArrowInvalid):
        write()
    assert not (tmp_path / "rows").exists()
