"""A file as it is uploaded, in each form: checked into a rows file, shown, and trained on; the same tokens, row by row."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.format_files import FILES, FormatFile
from tests.worker.qlora.runs import write_run
from tests.worker.qlora.test_shown_tokens import data_of
from worker.contract.dataset_tasks import ROWS_FILE, CheckTask, SourceFile
from worker.contract.token_tasks import RenderedSequence, RenderTask, StatisticsTask
from worker.rows.checking import check_files
from worker.rows.statistics import make_statistics
from worker.rows.tokenised_view import render_rows

pytestmark = pytest.mark.torch


def checked(folder: Path, file: FormatFile) -> Path:
    """The rows file that the dashboard keeps."""
    (folder / "0").write_bytes(file.content)
    report = check_files(CheckTask(files=(SourceFile(path="0", name=file.name),)), folder=folder)
    assert (report.rows, report.format, report.bad_rows, report.is_unsure) == (file.rows, file.format, 0, False), report
    return folder / ROWS_FILE


def ids_of(sequence: RenderedSequence) -> list[int]:
    return [piece.id for piece in sequence.pieces]


def labels_of(sequence: RenderedSequence) -> list[int]:
    """Nothing stands before the first token to predict it from."""
    return [piece.id if piece.is_trained else -100 for piece in sequence.pieces][1:]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_trains_on_the_tokens_that_are_shown(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, file: FormatFile
) -> None:
    rows_file = checked(tmp_path, file)
    rows = tuple(pq.read_table(rows_file, columns=["row"]).column("row").to_pylist())
    run = write_run(
        tmp_path / "run",
        model=tiny_model,
        rows=rows_file.read_bytes(),
        objective={"kind": file.objective},
        training={"max_steps": 1, "max_length": 256, "per_device_train_batch_size": 2},
    )
    trained = data_of(run, monkeypatch)
    shown = render_rows(RenderTask(tokenizer=str(run.model), format=file.format, rows=rows), folder=tmp_path)
    counted = make_statistics(StatisticsTask(tokenizer=str(run.model)), folder=tmp_path)
    assert len(trained.train) == len(shown.rows) == counted.rows == file.rows
    for row, entry in zip(shown.rows, trained.train, strict=True):
        for sequence in row.sequences:
            _compare(sequence, entry)
    sequences = [sequence for row in shown.rows for sequence in row.sequences]
    assert trained.trained_tokens == counted.trained_tokens == sum(each.trained_tokens for each in sequences) > 0
    assert trained.train_tokens == counted.tokens == sum(each.tokens for each in sequences)


def _compare(sequence: RenderedSequence, entry: dict[str, list[int]]) -> None:
    if "input_ids" in entry:
        ids, labels = entry["input_ids"], entry["labels"]
    else:
        answer = entry["completion_ids" if "completion_ids" in entry else f"{sequence.name}_ids"]
        ids, labels = entry["prompt_ids"] + answer, [-100] * len(entry["prompt_ids"]) + answer
    assert ids_of(sequence) == ids
    assert labels_of(sequence) == labels[1:]
    assert sequence.trained_tokens == sum(label != -100 for label in labels[1:])
