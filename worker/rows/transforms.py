"""New rows files out of old ones: first the short columns decide which rows go where, then the rows are copied, a group at a time."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from worker.contract.dataset_tasks import ROWS_FILE, Progress
from worker.contract.derived import Clean, Merge, Operation, Sample, TransformReport, TransformTask
from worker.rows.columns_of_file import first_of_each, words_of
from worker.rows.progress import Telling
from worker.rows.rows_file import TRAIN, RowsWriter, count_rows, format_of
from worker.rows.splitting import CannotSplit, held_out
from worker.rows.whole_files import batches_of

Mask = npt.NDArray[np.bool_]


class Held(NamedTuple):
    """The rows of a file that are held out; the others are trained on."""

    name: str
    rows: Mask

    def marked(self, batch: pa.RecordBatch, *, here: slice) -> pa.RecordBatch:
        place = batch.schema.get_field_index("split")
        column = pa.DictionaryArray.from_arrays(pa.array(self.rows[here].astype(np.int8)), pa.array([TRAIN, self.name]))
        return batch.set_column(place, batch.schema.field(place), column)


def transform(task: TransformTask, *, folder: Path) -> TransformReport:
    """Writes ROWS_FILE, or reports the problem and writes none."""
    paths = [folder / name for name in task.files]
    formats = [format_of(path) for path in paths]
    if len(set(formats)) > 1:
        problem = f"The versions have different shapes of rows ({' and '.join(sorted(set(formats)))}), so they cannot be one."
        return TransformReport(format=formats[0], rows=0, splits={}, problem=problem)
    try:
        keeps, held = _decide(task.operation, paths=paths)
    except CannotSplit as problem:
        return TransformReport(format=formats[0], rows=0, splits={}, problem=str(problem))
    if not any(keep.any() for keep in keeps):
        return TransformReport(format=formats[0], rows=0, splits={}, problem="No row would be left.")
    return _copy(paths, keeps, held, folder=folder)


def _decide(operation: Operation, *, paths: list[Path]) -> tuple[list[Mask], Held | None]:
    """For each file: which rows stay. And where the rows are split anew: how."""
    if isinstance(operation, Merge):
        return _merged(paths, operation), None
    (path,) = paths
    rows = count_rows(path)
    if isinstance(operation, Clean):
        return [_cleaned(path, operation, rows=rows)], None
    if isinstance(operation, Sample):
        return [_sampled(rows, operation)], None
    is_held = held_out(words_of(path, column="asked"), split=operation, path=path)
    return [np.ones(rows, dtype=bool)], Held(operation.name, is_held)


def _merged(paths: list[Path], operation: Merge) -> list[Mask]:
    ends = np.cumsum([count_rows(path) for path in paths])
    if operation.drop_duplicates:
        first = first_of_each(np.concatenate([words_of(path, column="digest") for path in paths]))
    else:
        first = np.ones(ends[-1], dtype=bool)
    return np.split(first, ends[:-1])


def _cleaned(path: Path, operation: Clean, *, rows: int) -> Mask:
    keep = first_of_each(words_of(path, column="digest")) if operation.drop_duplicates else np.ones(rows, dtype=bool)
    keep[[number - 1 for number in operation.leave_out if number <= rows]] = False
    return keep


def _sampled(rows: int, operation: Sample) -> Mask:
    keep = np.zeros(rows, dtype=bool)
    keep[np.random.default_rng(operation.seed).permutation(rows)[: operation.count]] = True
    return keep


def _copy(paths: list[Path], keeps: list[Mask], held: Held | None, *, folder: Path) -> TransformReport:
    tell, counts = Telling(folder), Counter[str]()
    total = sum(len(keep) for keep in keeps)
    format, done = format_of(paths[0]), 0
    with RowsWriter(folder / ROWS_FILE, format) as writer:
        for path, keep in zip(paths, keeps, strict=True):
            start = 0
            for batch in batches_of(path):
                here = slice(start, start := start + batch.num_rows)
                kept = (held.marked(batch, here=here) if held else batch).filter(pa.array(keep[here]))
                writer.add_batch(kept)
                counts.update({each["values"]: each["counts"] for each in kept.column("split").value_counts().to_pylist()})
                done += batch.num_rows
                tell(Progress(done=done, total=total))
    return TransformReport(format=format, rows=writer.rows, splits=dict(counts), left_out=total - writer.rows)
