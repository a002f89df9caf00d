"""The trainer on a rows file: the rows of the JSONL that it was made of, and those that it marks are measured."""

from pathlib import Path

import pytest

from tests.worker.qlora.runs import ROWS, failed, losses, told, train, write_run
from worker.contract.events import MetricsLogged, PlanMade
from worker.rows.rows_file import RowsWriter, stored
from worker.rows.shapes import read_row

pytestmark = pytest.mark.torch


def rows_file(folder: Path, *, held_out: int = 0) -> bytes:
    """ROWS, the last of them marked as test."""
    path = folder / "rows.parquet"
    with RowsWriter(path, "messages") as writer:
        for place, row in enumerate(ROWS):
            split = "test" if place >= len(ROWS) - held_out else "train"
            writer.add(stored(read_row(row), line=place + 1, split=split))
    return path.read_bytes()


def test_a_rows_file_trains_as_its_source(tmp_path: Path, tiny_model: Path) -> None:
    source = write_run(tmp_path / "source", model=tiny_model, training={"max_steps": 3})
    filed = write_run(tmp_path / "filed", model=tiny_model, rows=rows_file(tmp_path), training={"max_steps": 3})
    assert train(source) == train(filed) == 0
    assert losses(filed) == losses(source)


def test_marked_rows_are_measured_and_not_trained_on(tmp_path: Path, tiny_model: Path) -> None:
    content = rows_file(tmp_path, held_out=5)
    data = {"dataset_test_split": "test"}
    run = write_run(tmp_path / "run", model=tiny_model, rows=content, data=data, training={"max_steps": 4, "eval_steps": 2})
    assert train(run) == 0
    (plan,) = told(run, PlanMade)
    assert (plan.train_rows, plan.eval_rows) == (len(ROWS) - 5, 5)
    assert [event.step for event in told(run, MetricsLogged) if event.eval_loss is not None] == [2, 4]
    alone = write_run(tmp_path / "alone", model=tiny_model, rows=content, training={"max_steps": 1})
    assert train(alone) == 0
    assert told(alone, PlanMade)[0].train_rows == len(ROWS) - 5, "left alone where they are not asked for"


def test_a_split_that_is_not_there_is_said(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=rows_file(tmp_path), data={"dataset_test_split": "validation"})
    assert train(run) == 1
    assert failed(run).message == "The dataset has no rows marked as validation."
