"""Rows that are nearly the same are found, rows that are not are left alone, and the rows file decides alone."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.worker.rows.checks import check_rows
from worker.contract.dataset_tasks import ROWS_FILE
from worker.contract.near_duplicates import MOST_ROWS, NEAR_FILE, NearDuplicatesReport, NearDuplicatesTask
from worker.rows import equal_keys, near_duplicates
from worker.rows.near_duplicates import find_near_duplicates
from worker.rows.signatures import shingles_of

WORDS = [f"word{number}" for number in range(5000)]


def text(seed: int, *, words: int = 120) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def search(folder: Path, texts: list[str]) -> tuple[NearDuplicatesReport, dict[int, int]]:
    check_rows(folder, [{"text": text} for text in texts])
    report = find_near_duplicates(NearDuplicatesTask(rows=ROWS_FILE), folder=folder)
    found = pq.read_table(folder / NEAR_FILE).to_pylist()
    return report, {row["number"]: row["like"] for row in found}


def test_it_works(tmp_path: Path) -> None:
    folder, one, other = tmp_path / "task", text(1), text(2)
    folder.mkdir()
    changed = [*one[:60], "changed", *one[61:]]
    report, likes = search(folder, [" ".join(words) for words in (one, other, changed, text(3), [*other, "more"])])
    assert likes == {3: 1, 5: 2}
    assert (report.rows, report.groups, report.left_out) == (5, 2, 2)
    assert [[row.line for row in group.rows] for group in report.examples] == [[1, 3], [2, 5]]
    assert report.examples[0].rows[1].text.startswith(" ".join(one[:8]))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["train", ROWS_FILE, "problems.parquet", NEAR_FILE, "progress.json"]
    )


@pytest.mark.parametrize(("rows_a_share", "shared_from"), [(40, 10**9), (10**6, 0)], ids=["in shares", "by two processes"])
def test_it_is_the_same_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_a_share: int, shared_from: int) -> None:
    rows = [" ".join(text(number % 70, words=50 + number % 3)) for number in range(200)]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole = search(tmp_path / "one", rows)
    monkeypatch.setattr(equal_keys, "ROWS_A_SHARE", rows_a_share)
    monkeypatch.setattr(near_duplicates, "SHARED_FROM_ROWS", shared_from)
    assert search(tmp_path / "two", rows) == whole
    assert whole[1] == {number: (number - 1) % 70 + 1 for number in range(71, 201)}


def test_nearly_all_are_found_and_no_others(tmp_path: Path) -> None:
    """Pairs that share 90 % of their shingles, and pairs that share half."""
    near, half = [], []
    for seed in range(200):
        words = text(seed)
        near += [" ".join(words), " ".join([*words[:-6], *text(1000 + seed, words=6)])]
        half += [" ".join(text(5000 + seed)), " ".join([*text(5000 + seed)[:80], *text(9000 + seed, words=40)])]
    report, likes = search(tmp_path, near + half)
    assert sum(likes.get(number) == number - 1 for number in range(2, 401, 2)) >= 198
    assert sum(number > 400 for number in likes) == 0
    assert report.groups == report.left_out == len(likes)


def test_large_groups_show_their_first_rows(tmp_path: Path) -> None:
    report, likes = search(tmp_path, [" ".join(text(1)) + f" {number}" for number in range(30)])
    assert (report.examples[0].size, len(report.examples[0].rows)) == (30, MOST_ROWS)
    assert set(likes.values()) == {1}


def test_a_chain_is_one_group_known_by_its_first(tmp_path: Path) -> None:
    words = text(4, words=200)
    _, likes = search(tmp_path, [" ".join(words[start : start + 150]) for start in (0, 8, 16, 24)])
    assert likes == {2: 1, 3: 1, 4: 1}


@pytest.mark.parametrize("texts", [["a"], ["a", "b"], ["a", "a"]])
def test_few_and_short_rows_do_no_harm(tmp_path: Path, texts: list[str]) -> None:
    assert search(tmp_path, texts)[1] == ({2: 1} if texts == ["a", "a"] else {})


@pytest.mark.parametrize(
    ("value", "shingles"),
    [
        ("One two  THREE\nfour", ["one two three", "two three four"]),
        ("Only two", ["only two"]),
        ("日本語の文章は単語の間に空白がないので文字で比べます。", None),
    ],
)
def test_shingles(value: str, shingles: list[str] | None) -> None:
    found = shingles_of({"text": value})
    assert found == shingles if shingles else (found[0] == "日本語の文" and len(found) == len(value) - 4)


def test_groups_unite_whatever_the_order(tmp_path: Path) -> None:
    likes: Any = np.arange(8, dtype=np.int32)
    near_duplicates._unite(likes, np.array([7, 5, 7, 2]), np.array([5, 3, 6, 6]))
    assert near_duplicates._roots(likes, np.arange(8)).tolist() == [0, 1, 2, 2, 4, 2, 2, 2]
