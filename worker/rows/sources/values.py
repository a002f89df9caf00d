"""What the room hands out: a file's rows as dicts, and a fault for each that is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from worker.contract.rows_report import ProblemKind
from worker.rows.errors import RowRefused

TEXT_CHARS = 300  # of the offending text that a fault quotes


class Source(NamedTuple):
    """One file of a dataset. The name is the user's and is shown; what is in the file decides how it is read."""

    path: Path
    name: str


class Value(NamedTuple):
    """`line`: of the file; in a JSON array the element, in a Parquet file the row. `raw`: the JSON it was read from, where it was."""

    file: int
    line: int
    value: dict[str, Any]
    raw: bytes | None


class Problem(NamedTuple):
    """`column`: where in the row, as JSON counts: messages[2].content is of the third message."""

    kind: ProblemKind
    reason: str
    fix: str
    column: str = ""


class Fault(NamedTuple):
    """A row that cannot be read, with the text that is to blame."""

    file: int
    line: int
    problem: Problem
    text: str
    raw: bytes = b""
    """The whole row, where it is known and no longer than a row may be."""


class Block(Protocol):
    """Rows that were read and not yet parsed. It can be pickled, so that another process may do that."""

    def values(self) -> Iterator[Value | Fault]: ...


class FaultBlock(NamedTuple):
    """What went wrong before there was anything to parse."""

    fault: Fault

    def values(self) -> Iterator[Value | Fault]:
        yield self.fault


def fault_of(refused: RowRefused, *, file: int, line: int, text: str, column: str = "") -> Fault:
    problem = Problem(refused.kind, refused.reason[:2000], refused.fix[:2000], column[:200])
    return Fault(file, line, problem, text[:TEXT_CHARS])
