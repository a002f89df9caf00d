"""Rows files made out of others: the right rows, whole, in their order, and the same ones for the same seed."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from worker.contract.dataset_tasks import ROWS_FILE
from worker.contract.derived import Clean, DiffTask, Merge, Sample, Split, TransformTask
from worker.rows.diffing import diff
from worker.rows.row import Row
from worker.rows.rows_file import RowsWriter, read_rows_file, stored
from worker.rows.transforms import transform


def question(text: str, answer: str = "a") -> Row:
    return Row("prompt_completion", prompt=text, completion=answer)


def write(folder: Path, rows: list[Row], *, name: str = "in", extras: list[dict[str, Any]] | None = None) -> str:
    with RowsWriter(folder / name, rows[0].format) as writer:
        for place, row in enumerate(rows):
            extra = orjson.dumps(extras[place]) if extras else b"{}"
            writer.add(stored(row, line=place + 1, extra=extra))
    return name


def made(folder: Path) -> list[tuple[str, str, str]]:
    return [(item.row.prompt, item.row.completion, item.split) for item in read_rows_file(folder / ROWS_FILE)]


NUMBERS = [question(str(number)) for number in range(100)]


@pytest.mark.parametrize(("amount", "expected"), [({"share": 0.2}, 20), ({"count": 7}, 7), ({"share": 0.001}, 1)])
def test_a_split_marks_as_many_rows_as_asked_for(tmp_path: Path, amount: dict[str, Any], expected: int) -> None:
    name = write(tmp_path, NUMBERS)
    report = transform(TransformTask(files=(name,), operation=Split(**amount, seed=3)), folder=tmp_path)
    assert (report.rows, report.splits) == (100, {"train": 100 - expected, "test": expected})
    rows = made(tmp_path)
    assert [prompt for prompt, _, _ in rows] == [str(number) for number in range(100)], "all rows, in their order"
    transform(TransformTask(files=(name,), operation=Split(**amount, seed=3)), folder=tmp_path)
    assert made(tmp_path) == rows
    transform(TransformTask(files=(name,), operation=Split(**amount, seed=4)), folder=tmp_path)
    assert made(tmp_path) != rows


def test_rows_that_ask_the_same_stay_together(tmp_path: Path) -> None:
    rows = [question(str(number // 5), str(number)) for number in range(100)]
    transform(TransformTask(files=(write(tmp_path, rows),), operation=Split(share=0.33)), folder=tmp_path)
    sides: dict[str, set[str]] = {}
    for prompt, _, split in made(tmp_path):
        sides.setdefault(prompt, set()).add(split)
    assert all(len(found) == 1 for found in sides.values())
    assert {split for found in sides.values() for split in found} == {"train", "test"}


def test_a_column_keeps_its_proportions(tmp_path: Path) -> None:
    extras = [{"topic": "rare" if number % 10 == 0 else "common"} for number in range(100)]
    task = TransformTask(files=(write(tmp_path, NUMBERS, extras=extras),), operation=Split(share=0.3, stratify_by="topic"))
    transform(task, folder=tmp_path)
    held = Counter(extras[int(prompt)]["topic"] for prompt, _, split in made(tmp_path) if split == "test")
    assert held == {"rare": 3, "common": 27}


def test_what_cannot_be_split_says_why(tmp_path: Path) -> None:
    name = write(tmp_path, NUMBERS[:3])
    for operation, words in (
        (Split(count=3), "at most 2"),
        (Split(count=1, stratify_by="topic"), "No row has a column topic"),
    ):
        assert words in transform(TransformTask(files=(name,), operation=operation), folder=tmp_path).problem
    same = write(tmp_path, [question("x", str(number)) for number in range(4)])
    assert "ask the same" in transform(TransformTask(files=(same,), operation=Split(count=1)), folder=tmp_path).problem
    assert not (tmp_path / ROWS_FILE).exists()
    for wrong in ({}, {"share": 0.5, "count": 1}):
        with pytest.raises(ValidationError, match="one of the two"):
            Split(**wrong)  # type: ignore[arg-type]


def test_cleaning_leaves_out_duplicates_and_named_rows(tmp_path: Path) -> None:
    rows = [question("a"), question("b"), question("a"), question("c"), question("a", "other")]
    report = transform(
        TransformTask(files=(write(tmp_path, rows),), operation=Clean(drop_duplicates=True, leave_out=(4,))), folder=tmp_path
    )
    assert [row[:2] for row in made(tmp_path)] == [("a", "a"), ("b", "a"), ("a", "other")]
    assert report.left_out == 2


def test_a_sample_keeps_the_order(tmp_path: Path) -> None:
    task = TransformTask(files=(write(tmp_path, NUMBERS),), operation=Sample(count=10, seed=1))
    assert transform(task, folder=tmp_path).rows == 10
    taken = [int(prompt) for prompt, _, _ in made(tmp_path)]
    assert taken == sorted(taken)


def test_a_merge_takes_each_row_once(tmp_path: Path) -> None:
    one = write(tmp_path, NUMBERS[:10], name="one")
    two = write(tmp_path, NUMBERS[5:15], name="two")
    transform(TransformTask(files=(one, two), operation=Merge()), folder=tmp_path)
    assert [int(prompt) for prompt, _, _ in made(tmp_path)] == list(range(15))
    texts = write(tmp_path, [Row("text", text="t")], name="texts")
    assert "different shapes" in transform(TransformTask(files=(one, texts), operation=Merge()), folder=tmp_path).problem


def test_a_difference_tells_added_removed_changed_and_moved_rows(tmp_path: Path) -> None:
    before = write(tmp_path, [question("a"), question("b"), question("b"), question("c"), question("d")], name="before")
    after = write(tmp_path, [question("b"), question("e"), question("a"), question("c", "better")], name="after")
    report = diff(DiffTask(before=before, after=after), folder=tmp_path)
    assert (report.kept, report.added, report.removed, report.changed, report.moved) == (2, 1, 2, 1, 0)
    assert [change.after for change in report.shown_added] == [2]
    assert [change.before for change in report.shown_removed] == [3, 5]
    assert [(change.before, change.after) for change in report.shown_changed] == [(4, 4)]


def test_a_split_differs_only_by_what_it_moved(tmp_path: Path) -> None:
    name = write(tmp_path, NUMBERS)
    transform(TransformTask(files=(name,), operation=Split(count=9)), folder=tmp_path)
    report = diff(DiffTask(before=name, after=ROWS_FILE), folder=tmp_path)
    assert (report.kept, report.added, report.removed, report.changed, report.moved) == (100, 0, 0, 0, 9)
