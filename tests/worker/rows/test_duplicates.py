"""Rows that are there twice, that train and evaluation share, or that are far longer than the others: warned of, and kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worker.rows.checks import check_rows
from worker.rows import duplicates, equal_keys, lengths


def chat(asked: str, answered: str = "Good day") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


def test_it_works(tmp_path: Path) -> None:
    found = check_rows(tmp_path, [chat("a"), chat("b"), chat("a"), chat("c"), chat("a")])
    assert [(told["line"], told["is_warning"]) for told in found.told("duplicate")] == [(3, True), (5, True)]
    assert found.told("duplicate")[0]["reason"] == "The row is the same as line 1."
    assert (found.report.rows, found.report.bad_rows, found.report.warning_counts) == (5, 0, {"duplicate": 2})


def test_the_same_row_written_otherwise_is_the_same(tmp_path: Path) -> None:
    spaced = b'{ "messages" : [ {"content": "a", "role": "user"}, {"role": "assistant", "content": "Good day"} ] }\n'
    assert check_rows(tmp_path, [chat("a"), spaced]).report.warning_counts == {"duplicate": 1}


def test_the_first_one_may_stand_in_another_file(tmp_path: Path) -> None:
    found = check_rows(tmp_path, {"train": [chat("a"), chat("b")], "other": [chat("b")]})
    assert [(told["file"], told["line"], told["reason"]) for told in found.told("duplicate")] == [
        (1, 1, "The row is the same as line 2 of train.jsonl.")
    ]


@pytest.mark.parametrize("rows_a_share", [1, 3, 1000])
def test_any_share_of_the_digests_finds_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_a_share: int) -> None:
    """Rows are read in parts of 7, and their digests a share at a time."""
    monkeypatch.setattr(equal_keys, "ROWS_A_SHARE", rows_a_share)
    monkeypatch.setattr(duplicates, "READ_ROWS", 7)
    asked = [f"{number % 23}" for number in range(60)]
    found = check_rows(tmp_path, [chat(text) for text in asked])
    told = {problem["line"]: problem["reason"] for problem in found.told("duplicate")}
    assert told == {line: f"The row is the same as line {asked.index(asked[line - 1]) + 1}." for line in range(24, 61)}


def test_questions_of_training_in_an_evaluation_are_told(tmp_path: Path) -> None:
    train = [chat("a", "one"), chat("b", "two")]
    found = check_rows(tmp_path, {"train": train, "validation": [chat("c"), chat("b", "other")], "test": [chat("a", "one")]})
    told = [(problem["file"], problem["line"]) for problem in found.told("shared_between_splits")]
    assert told == [(1, 2), (2, 1)]
    assert "line 2 of train.jsonl asks the same" in found.told("shared_between_splits")[0]["reason"]
    assert found.report.splits == {"train": 2, "validation": 2, "test": 1}


def test_training_rows_after_the_evaluation_are_seen_too(tmp_path: Path) -> None:
    found = check_rows(tmp_path, {"test": [chat("a", "one")], "train": [chat("a", "two")]})
    assert [problem["file"] for problem in found.told("shared_between_splits")] == [0]


def test_one_split_shares_nothing_with_itself(tmp_path: Path) -> None:
    assert not check_rows(tmp_path, {"train": [chat("a", "one"), chat("a", "two")]}).told("shared_between_splits")


def test_rows_far_longer_than_the_others_are_told(tmp_path: Path) -> None:
    rows = [chat(f"question {number}") for number in range(300)]
    rows[41] = chat("x" * 30_000)
    found = check_rows(tmp_path, rows)
    assert [problem["line"] for problem in found.told("very_long")] == [42]
    assert "30.1 kB long; 99 of 100 rows are shorter than 0.1 kB" in found.told("very_long")[0]["reason"]


def test_few_rows_have_no_usual_length_but_a_megabyte_is_much(tmp_path: Path) -> None:
    found = check_rows(tmp_path, [chat("x" * 30_000), chat("y" * 1_100_000), chat("z")])
    assert [problem["line"] for problem in found.told("very_long")] == [2]


def test_the_percentile_is_right_to_two_percent(tmp_path: Path) -> None:
    import pyarrow as pa

    numbers = np.random.default_rng(3).lognormal(6, 1, 5000).astype(int) + 1
    with lengths.Lengths(tmp_path / "lengths") as kept:
        kept.add(pa.RecordBatch.from_pydict({"row": pa.array(["x" * number for number in numbers], pa.large_string())}))
        assert kept.usual() == pytest.approx(np.percentile(numbers, 99), rel=0.02)
    assert not (tmp_path / "lengths").exists()
