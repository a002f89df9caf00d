"""New rows files out of old ones: first the short columns decide which rows go where, then the rows are copied, a group at a time."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from worker.contract.dataset_tasks import ROWS_FILE, Progress
from worker.contract.derived import Clean, Merge, Sample, Split, TransformReport, TransformTask
from worker.rows.columns_of_file import Keys, first_of_each, keys_of
from worker.rows.progress import Telling
from worker.rows.rows_file import ROWS_A_GROUP, RowsWriter, format_of
from worker.rows.splitting import CannotSplit, held_out

Mask = npt.NDArray[np.bool_]


def transform(task: TransformTask, *, folder: Path) -> TransformReport:
    """Writes ROWS_FILE, or reports the problem and writes none."""
    paths = [folder / name for name in task.files]
    formats = [format_of(path) for path in paths]
    if len(set(formats)) > 1:
        problem = f"The versions have different shapes of rows ({' and '.join(sorted(set(formats)))}), so they cannot be one."
        return TransformReport(format=formats[0], rows=0, splits={}, problem=problem)
    try:
        keeps, splits = _decide(task, paths=paths)
    except CannotSplit as problem:
        return TransformReport(format=formats[0], rows=0, splits={}, problem=str(problem))
    if not any(keep.any() for keep in keeps):
        return TransformReport(format=formats[0], rows=0, splits={}, problem="No row would be left.")
    return _copy(paths, keeps, splits, folder=folder)


def _decide(task: TransformTask, *, paths: list[Path]) -> tuple[list[Mask], list[npt.NDArray[np.str_]]]:
    """For each file: which rows stay, and the split of each."""
    operation = task.operation
    keys = [keys_of(path) for path in paths]
    splits = [each.split for each in keys]
    if isinstance(operation, Merge):
        return _first_in_all(keys) if operation.drop_duplicates else [np.ones(len(each), dtype=bool) for each in keys], splits
    (only,) = keys
    if isinstance(operation, Clean):
        return [_cleaned(only, operation)], splits
    if isinstance(operation, Sample):
        return [_sampled(len(only), operation)], splits
    return [np.ones(len(only), dtype=bool)], [_marked(only, operation, path=paths[0])]


def _marked(keys: Keys, operation: Split, *, path: Path) -> npt.NDArray[np.str_]:
    return np.where(held_out(keys, split=operation, path=path), operation.name, "train")


def _cleaned(keys: Keys, operation: Clean) -> Mask:
    keep = first_of_each(keys.digest) if operation.drop_duplicates else np.ones(len(keys), dtype=bool)
    keep[[number - 1 for number in operation.leave_out if number <= len(keys)]] = False
    return keep


def _sampled(rows: int, operation: Sample) -> Mask:
    keep = np.zeros(rows, dtype=bool)
    keep[np.random.default_rng(operation.seed).permutation(rows)[: operation.count]] = True
    return keep


def _first_in_all(keys: list[Keys]) -> list[Mask]:
    first = first_of_each(np.concatenate([each.digest for each in keys]))
    return np.split(first, np.cumsum([len(each) for each in keys])[:-1])


def _copy(paths: list[Path], keeps: list[Mask], splits: list[npt.NDArray[np.str_]], *, folder: Path) -> TransformReport:
    tell, counts = Telling(folder), Counter[str]()
    total = sum(len(keep) for keep in keeps)
    format, done = format_of(paths[0]), 0
    with RowsWriter(folder / ROWS_FILE, format) as writer:
        for path, keep, split in zip(paths, keeps, splits, strict=True):
            for batch, start in _batches(path):
                here = slice(start, start + batch.num_rows)
                writer.add_batch(_with_splits(batch, split[here]).filter(pa.array(keep[here])))
                counts.update(split[here][keep[here]].tolist())
                done += batch.num_rows
                tell(Progress(done=done, total=total))
    return TransformReport(format=format, rows=writer.rows, splits=dict(counts), left_out=total - writer.rows)


def _batches(path: Path) -> Iterator[tuple[pa.RecordBatch, int]]:
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS_A_GROUP):
        yield batch, start
        start += batch.num_rows


def _with_splits(batch: pa.RecordBatch, splits: npt.NDArray[np.str_]) -> pa.RecordBatch:
    place = batch.schema.get_field_index("split")
    names = pa.array(splits.tolist(), pa.string()).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(names.indices.cast(pa.int8()), names.dictionary)
    return batch.set_column(place, batch.schema.field(place), column)
