"""Versions of many rows, or of long ones: small groups in the file, and little of it in memory."""

import tracemalloc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from worker.contract.dataset_tasks import ROWS_FILE
from worker.contract.derived import Clean, DiffTask, Merge, Sample, TransformTask
from worker.rows.diffing import diff
from worker.rows.rows_file import RowsWriter, Stored, read_rows_file
from worker.rows.transforms import transform
from worker.rows.whole_files import GROUP_BYTES

MANY = 100_000


def write(path: Path, numbers: Iterable[int], *, text: str = "") -> str:
    with RowsWriter(path, "text") as writer:
        for place, number in enumerate(numbers):
            raw = b'{"text":"%d%s"}' % (number, text.encode())
            split = "validation" if place % 3 else "train"
            writer.add(Stored(raw, number.to_bytes(16, "big"), number.to_bytes(8, "big"), line=place + 1, split=split))
    return path.name


def test_long_rows_are_read_and_copied_a_group_at_a_time(tmp_path: Path) -> None:
    name = write(tmp_path / "in", range(64), text="x" * 2**20)
    before = pa.total_allocated_bytes()
    assert max(pa.total_allocated_bytes() - before for _ in read_rows_file(tmp_path / name)) < 3 * GROUP_BYTES
    transform(TransformTask(files=(name,), operation=Clean(drop_duplicates=True)), folder=tmp_path)
    metadata = pq.read_metadata(tmp_path / ROWS_FILE)
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sum(rows) == 64
    assert max(rows) <= 9


def test_a_small_sample_of_many_groups_is_one_group(tmp_path: Path) -> None:
    name = write(tmp_path / "in", range(20_000))
    transform(TransformTask(files=(name,), operation=Sample(count=10, seed=1)), folder=tmp_path)
    metadata = pq.read_metadata(tmp_path / ROWS_FILE)
    assert (metadata.num_rows, metadata.num_row_groups) == (10, 1)


def test_a_merge_and_a_difference_of_many_rows_take_little_memory(tmp_path: Path) -> None:
    names = write(tmp_path / "one", range(MANY)), write(tmp_path / "two", range(MANY // 2, MANY + MANY // 2))
    tracemalloc.start()
    try:
        report = transform(TransformTask(files=names, operation=Merge()), folder=tmp_path)
        merging = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        compared = diff(DiffTask(before=names[0], after=names[1]), folder=tmp_path)
        comparing = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.rows == 1.5 * MANY
    assert (compared.kept, compared.added, compared.removed) == (MANY // 2,) * 3
    assert merging / (2 * MANY) < 80, "bytes a row"
    assert comparing / (2 * MANY) < 110, "bytes a row"


def test_rows_that_occur_several_times_are_paired_one_to_one(tmp_path: Path) -> None:
    random = Random(1)
    before, after = ([random.randrange(50) for _ in range(count)] for count in (300, 200))
    write(tmp_path / "before", before)
    write(tmp_path / "after", after)
    report = diff(DiffTask(before="before", after="after"), folder=tmp_path)
    kept = (Counter(before) & Counter(after)).total()
    assert (report.kept, report.removed, report.added, report.changed) == (kept, 300 - kept, 200 - kept, 0)


def test_a_version_without_rows_lacks_all_of_the_other(tmp_path: Path) -> None:
    write(tmp_path / "before", [])
    write(tmp_path / "after", [1, 2])
    report = diff(DiffTask(before="before", after="after"), folder=tmp_path)
    assert (report.kept, report.removed, report.added) == (0, 0, 2)
    assert not list(read_rows_file(tmp_path / "before"))
