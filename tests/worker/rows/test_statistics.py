"""Token statistics of a rows file against counting by hand, and what a max length or a batch does, against doing it."""

import json
import random
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny_tokenizer import CHATML, WORDS, tiny_tokenizer
from worker.contract.dataset_tasks import Progress
from worker.contract.token_counts import Counts
from worker.contract.token_figures import batches, bins_of, cut_at, expected_longest
from worker.contract.token_tasks import StatisticsReport, StatisticsTask
from worker.qlora.bins import fill_bins
from worker.rows import statistics
from worker.rows.pairing import tokenize_answers
from worker.rows.row import Row
from worker.rows.rows_file import RowsWriter, stored
from worker.rows.shapes import read_row
from worker.rows.statistics import make_statistics
from worker.rows.tokenizer import load_tokenizer
from worker.rows.tokenizing import tokenize_rows

ROOT = Path(__file__).resolve().parents[3]


def words(dice: random.Random, most: int) -> str:
    return " ".join(dice.choices(WORDS.split(), k=dice.randint(1, most)))


def chats(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {
            "messages": [
                {"role": role, "content": words(dice, 30)} for _ in range(dice.randint(1, 3)) for role in ("user", "assistant")
            ]
        }
        for _ in range(count)
    ]


def task_folder(
    folder: Path, rows: list[Row], *, template: str | None = CHATML, held_out: Collection[int] = (), **task: Any
) -> StatisticsTask:
    """`held_out`: numbers of rows, from 1."""
    tiny_tokenizer(template).save_pretrained(folder / "tokenizer")
    with RowsWriter(folder / "rows.parquet", format=rows[0].format) as writer:
        for number, row in enumerate(rows, 1):
            writer.add(stored(row, line=number, split="test" if number in held_out else "train"))
    made = StatisticsTask(**task)
    (folder / "task.json").write_text(made.model_dump_json())
    return made


def test_every_figure_is_what_counting_gives(tmp_path: Path) -> None:
    rows = [read_row(row) for row in chats(300)]
    report = make_statistics(task_folder(tmp_path, rows), folder=tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    done = tokenize_rows(rows, format="messages", tokenizer=tokenizer, max_length=10**6)
    lengths = [len(row.input_ids) for row in done.rows]
    assert (report.mask, report.rows, report.of_rows) == ("turn_by_turn", 300, 300)
    assert (report.tokens, report.trained_tokens) == (done.tokens, done.trained_tokens)
    assert (report.untrained_rows, report.endless_rows) == (0, 0)
    assert (report.lengths.total, report.trained_at.total) == (300, done.trained_tokens)
    assert report.lengths.percentile(1.0) == max(lengths)
    assert report.lengths.percentile(0.5) == sorted(lengths)[149]
    for max_length in (1, 8, 20, 33, 64, 100, max(lengths) - 1, max(lengths), 5000):
        cut = tokenize_rows(rows, format="messages", tokenizer=tokenizer, max_length=max_length)
        found = cut_at(report, max_length=max_length)
        assert found.cut_rows == cut.cut_rows
        assert found.lost_tokens == done.trained_tokens - cut.trained_tokens
        assert found.left_out_rows == cut.untrained_rows
        ends = sum(row.labels[-1] == -100 or row.input_ids[-1] not in tokenizer.special_tokens.values() for row in cut.rows)
        assert found.endless_rows <= ends


@pytest.mark.parametrize(
    ("value", "trained", "untrained", "endless"),
    [
        ({"text": "hello world"}, "whole", 0, 0),
        ({"prompt": "hello", "completion": " world"}, "completion", 0, 0),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}, "", 1, 0),
    ],
)
def test_rows_of_each_format(tmp_path: Path, value: dict[str, Any], trained: str, untrained: int, endless: int) -> None:
    row = Row("messages", messages=tuple(value["messages"])) if "messages" in value else read_row(value)
    report = make_statistics(task_folder(tmp_path, [row]), folder=tmp_path)
    assert (report.rows, report.untrained_rows, report.endless_rows, report.refusal) == (1, untrained, endless, "")
    assert (report.untrained, report.endless) == ((1,) * untrained, (1,) * endless)
    assert bool(report.trained_tokens) == bool(trained)


def test_whole_rows_that_do_not_end_are_said(tmp_path: Path) -> None:
    no_end = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    rows = [read_row(row) for row in chats(5)]
    report = make_statistics(task_folder(tmp_path, rows, template=no_end, train_on="whole_row"), folder=tmp_path)
    assert (report.mask, report.endless_rows, report.endless) == ("whole_row", 5, (1, 2, 3, 4, 5))
    refused = make_statistics(task_folder(tmp_path, rows, template=no_end), folder=tmp_path)
    assert "without a special token" in refused.refusal
    assert refused.rows == 0


def test_a_model_without_a_template_may_be_given_one(tmp_path: Path) -> None:
    rows = [read_row(row) for row in chats(5)]
    assert "One can be chosen" in make_statistics(task_folder(tmp_path, rows, template=None), folder=tmp_path).refusal
    for name in ("chatml", "alpaca", "question_answer"):
        report = make_statistics(task_folder(tmp_path, rows, template=None, chat_template=name), folder=tmp_path)
        assert (report.refusal, report.mask, report.rows) == ("", "template_markers", 5)


def test_pairs_are_counted_as_they_are_trained(tmp_path: Path) -> None:
    dice = random.Random(2)
    rows = [
        read_row({"prompt": [{"role": "user", "content": words(dice, 20)}], "chosen": words(dice, 30), "rejected": words(dice, 30)})
        for _ in range(80)
    ]
    report = make_statistics(task_folder(tmp_path, rows), folder=tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    whole = tokenize_answers(rows, tokenizer=tokenizer, max_length=10**6)
    assert (report.sequences, report.rows) == (2, 80)
    assert report.tokens == sum(sum(row.lengths) for row in whole.rows) + 0
    assert report.trained_tokens == sum(row.trained for row in whole.rows)
    for max_length in (20, 40, 60, 100):
        cut, found = tokenize_answers(rows, tokenizer=tokenizer, max_length=max_length), cut_at(report, max_length=max_length)
        assert found.left_out_rows == cut.too_long_rows
        kept = sum(min(len(row.answers[n]), max(max_length - len(row.prompt), 0)) for row in whole.rows for n in (0, 1))
        assert found.lost_tokens == report.trained_tokens - kept


def test_the_process_tells_a_sample_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [read_row(row) for row in chats(600)]
    task = task_folder(tmp_path, rows)
    monkeypatch.setattr(statistics, "SAMPLE_ROWS", 100)
    told: list[Progress] = []
    monkeypatch.setattr(statistics.Telling, "__call__", lambda self, progress, now=False: told.append(progress))
    report = make_statistics(task, folder=tmp_path)
    sample = StatisticsReport.model_validate(told[0].sample)
    assert (sample.of_rows, report.rows) == (600, 600)
    assert 90 <= sample.rows <= 110
    assert sample.tokens / sample.rows == pytest.approx(report.tokens / report.rows, rel=0.25)


@pytest.mark.parametrize("sample", [2048, 50])
def test_rows_that_are_held_out_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int) -> None:
    """Those without a trained token are named by their place in the file."""
    monkeypatch.setattr(statistics, "SAMPLE_ROWS", sample)
    read, held_out = [read_row(row) for row in chats(200)], range(1, 200, 4)
    for place in (6, 8):
        asked, answer = read[place].messages[:2]
        read[place] = Row(format="messages", messages=(asked, {**answer, "weight": 0}))
    (tmp_path / "whole").mkdir()
    (tmp_path / "alone").mkdir()
    report = make_statistics(task_folder(tmp_path / "whole", read, held_out=held_out), folder=tmp_path / "whole")
    trained = [row for number, row in enumerate(read, 1) if number not in held_out]
    alone = make_statistics(task_folder(tmp_path / "alone", trained), folder=tmp_path / "alone")
    assert (report.rows, report.of_rows, report.untrained) == (150, 150, (7,))
    assert report.model_copy(update={"untrained": alone.untrained}) == alone


def test_a_version_of_which_all_is_held_out(tmp_path: Path) -> None:
    task = task_folder(tmp_path, [read_row(row) for row in chats(3)], held_out=range(1, 4))
    assert make_statistics(task, folder=tmp_path).refusal.startswith("All rows of this version are held out")


def test_the_command(tmp_path: Path) -> None:
    task_folder(tmp_path, [read_row(row) for row in chats(20)])
    done = subprocess.run(
        [sys.executable, "-m", "worker.rows", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["rows"] == 20


def test_a_folder_that_holds_no_tokenizer(tmp_path: Path) -> None:
    task = task_folder(tmp_path, [read_row(row) for row in chats(2)])
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    assert "tokenizer" in make_statistics(task, folder=tmp_path).refusal


def test_long_rows_are_binned() -> None:
    counts = Counts.of({3: 2, 32_768: 1, 32_769: 1, 33_792: 1, 33_793: 4, 500_000: 1})
    assert (len(counts.exact), counts.total) == (32_769, 10)
    assert counts.beyond[:2] == ((32_769, 2), (33_793, 4))
    assert [counts.below(place) for place in (3, 4, 32_769, 33_793, 34_817, 10**6)] == [0, 2, 3, 5, 9, 10]
    assert Counts.of({}).percentile(0.5) == 0


@pytest.mark.parametrize("seed", range(30))
def test_bins_are_as_many_as_the_trainer_fills(seed: int) -> None:
    dice = random.Random(seed)
    size = dice.choice([8, 64, 200, 1024])
    lengths = [dice.randint(1, size) for _ in range(dice.randint(1, 400))]
    counted: dict[int, int] = {}
    for length in lengths:
        counted[length] = counted.get(length, 0) + 1
    assert bins_of(counted, size=size) == len(fill_bins(lengths, size=size))


def test_padding_is_what_batches_drawn_by_chance_have() -> None:
    dice = random.Random(3)
    lengths = [dice.choice([10, 20, 400]) for _ in range(5000)]
    counts = Counts.of({length: lengths.count(length) for length in set(lengths)})
    drawn = [max(dice.sample(lengths, 4)) for _ in range(20_000)]
    assert expected_longest(dict(counts.items()), of=4) == pytest.approx(sum(drawn) / len(drawn), rel=0.02)
    report = StatisticsReport(rows=5000, lengths=counts)
    found = batches(report, max_length=400, rows_a_batch=4)
    assert found.steps == 1250
    assert found.padding_share == pytest.approx(1 - (sum(lengths) / 5000) / (sum(drawn) / len(drawn)), abs=0.02)
    assert found.packed_empty_share < 0.01
    assert found.packed_steps == -(-found.packed_bins // 4)
    assert batches(StatisticsReport(), max_length=400, rows_a_batch=4).steps == 0


@pytest.mark.parametrize("sample", [2048, 50])
@pytest.mark.parametrize("train_on", ["assistant", "whole_row"])
def test_a_row_that_no_rule_fits_is_named_by_its_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int, train_on: str
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE_ROWS", sample)
    picky = CHATML + "{% if messages[0]['content'] == 'odd' %}{{ raise_exception('Not this one.') }}{% endif %}"
    rows = [read_row(row) for row in chats(200)]
    rows[150] = read_row({"messages": [{"role": "user", "content": "odd"}, {"role": "assistant", "content": "so"}]})
    task = task_folder(tmp_path, rows, template=picky, held_out=range(2, 100, 2), train_on=train_on)
    refused = make_statistics(task, folder=tmp_path).refusal
    assert "Not this one. (row 151)" in refused
    assert "template_markers: the chat template has no generation markers" in refused or train_on == "whole_row"
