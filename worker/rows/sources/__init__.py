"""A dataset's files, whatever their form: their rows as dicts, or why not. What is in a file decides, not its name."""

from collections.abc import Iterator, Sequence

from worker.rows.sources.reading import Reading as Reading
from worker.rows.sources.values import Block as Block
from worker.rows.sources.values import Fault as Fault
from worker.rows.sources.values import Problem as Problem
from worker.rows.sources.values import Source as Source
from worker.rows.sources.values import Value as Value


def read_values(files: Sequence[Source]) -> Iterator[Value | Fault]:
    """Raises FileRefused for faults of a file. Reading(files) does the same with notes, progress, and blocks to share out."""
    return Reading(files).values()
