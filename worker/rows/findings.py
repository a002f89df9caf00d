"""Problems and warnings on their way into the problems file."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from worker.contract.row_warnings import WarningKind
from worker.contract.rows_report import ProblemKind, RowProblem
from worker.rows.problems_file import SCHEMA


class Finding(NamedTuple):
    """The columns of the problems file. Rows that are left out bring themselves along (`raw`); the others are in the rows file."""

    file: int
    line: int
    kind: ProblemKind | WarningKind
    reason: str
    fix: str
    column: str = ""
    text: str = ""
    raw: bytes = b""
    is_warning: bool = False


def as_problems(findings: Sequence[Finding]) -> pa.RecordBatch:
    columns = [pa.array([getattr(finding, field.name) for finding in findings], field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def first_problems(batch: pa.RecordBatch, *, most: int) -> list[RowProblem]:
    """Of the rows that are left out, for the report."""
    names = [name for name in RowProblem.model_fields if name in batch.schema.names]
    rows = batch.filter(pa.compute.invert(batch.column("is_warning"))).slice(0, most).select(names).to_pylist()
    return [RowProblem.model_validate(row) for row in rows]


def repeated_problems(
    kind: WarningKind, *, files: npt.NDArray[np.int16], lines: npt.NDArray[np.int64], reasons: list[str], fix: str
) -> pa.RecordBatch:
    """Warnings that differ in place and reason alone: there may be half a million."""
    count = len(reasons)
    same = {"is_warning": True, "kind": kind, "fix": fix, "column": "", "text": "", "raw": b""}
    differing = {"file": pa.array(files), "line": pa.array(lines), "reason": pa.array(reasons, pa.string())}
    columns = [
        differing[field.name] if field.name in differing else pa.repeat(pa.scalar(same[field.name], field.type), count)
        for field in SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
