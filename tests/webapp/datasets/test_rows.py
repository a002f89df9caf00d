"""The row browser: paging, searching, a split alone, where a row came from, and what a stranger gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import jsonl, upload
from tests.webapp.datasets.rows import give_rows
from webapp.datasets import scanning
from webapp.datasets.browsing import Asked, rows_page
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.scanning import Cursor, Wanted, page_of
from webapp.datasets.shown_rows import HEAD_CHARS, ROW_CHARS, TURNS, shown_row
from worker.rows import rows_file


def said(number: int, text: str = "Half a byte.") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Question {number}"}, {"role": "assistant", "content": text}]}


@pytest.fixture
def version(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> DatasetVersion:
    """100 rows in groups of 8; row 77 says something else."""
    with_groups = [said(n, 'A "Needle"\nin ÉTÉ <b>' if n == 77 else "Half a byte.") for n in range(1, 101)]
    return give_rows(cast.version, with_groups)


def numbers(version: DatasetVersion, **asked: Any) -> list[int]:
    return [row.number for row in rows_page(version, Asked(**asked)).rows]


@pytest.fixture
def groups_of_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rows_file, "ROWS_A_GROUP", 8)
    path = tmp_path / "rows.parquet"
    with rows_file.RowsWriter(path, "text") as writer:
        for n in range(1, 101):
            row = rows_file.Row("text", text=f"number {n}")
            writer.add(rows_file.stored(row, line=n, split="test" if n % 10 == 0 or 49 <= n <= 56 else "train"))
    return path


def test_pages_go_both_ways_over_groups(groups_of_8: Path):
    every = Wanted(("row",), limit=10, weigh="row")

    def page(number: int, *, back: bool = False) -> list[int]:
        return [n for n, _ in page_of(groups_of_8, at=Cursor(number, back), wanted=every).records]

    assert page(1) == list(range(1, 11))
    assert page(6) == list(range(6, 16))
    assert page(95) == list(range(95, 101))
    assert page(101, back=True) == list(range(91, 101))
    assert page(4, back=True) == [1, 2, 3]
    assert page(10**9) == []


def test_a_split_is_walked_alone(groups_of_8: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DatasetVersion, "rows_path", groups_of_8)
    test = [n for n in range(1, 101) if n % 10 == 0 or 49 <= n <= 56]
    assert numbers(cast.version, split="test") == test[:25]
    assert numbers(cast.version, split="test", at=Cursor(101, is_backwards=True), limit=3) == test[-3:]
    assert numbers(cast.version, split="validation") == []
    assert numbers(cast.version, split="test", text="NUMBER 5") == [50, *range(51, 57)]


def test_a_search_that_takes_too_long_says_how_far_it_came(groups_of_8: Path, monkeypatch: pytest.MonkeyPatch):
    never = Wanted(("row",), limit=10, accept=lambda record: False, seconds=0.0)
    found = page_of(groups_of_8, at=Cursor(), wanted=never)
    assert (found.records, found.looked_from, found.looked_to, found.is_out_of_time) == ((), 1, 8, True)
    back = page_of(groups_of_8, at=Cursor(101, is_backwards=True), wanted=never)
    assert (back.looked_from, back.looked_to, back.is_out_of_time) == (97, 100, True)


def test_a_page_of_long_rows_is_short(groups_of_8: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scanning, "PAGE_BYTES", 50)
    assert len(page_of(groups_of_8, at=Cursor(), wanted=Wanted(("row",), limit=25, weigh="row")).records) == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [("needle", [77]), ('a "NEEDLE"\nin', [77]), ("été <B>", [77]), ("Question 10", [10, 100]), ("assistant", []), ("content", [])],
)
def test_a_search_finds_what_is_read(version: DatasetVersion, text: str, found: list[int]):
    assert numbers(version, text=text) == found, text


def test_the_page_pages(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    url = f"/datasets/{version.dataset_id}/"
    first = client.get(url).content.decode()
    assert "Rows 1 to 25 of 100" in first
    assert "?row=26" in first
    assert "?before=101" in first
    assert "Rows 26 to 50 of 100" in client.get(f"{url}?row=26").content.decode()
    assert "Rows 76 to 100 of 100" in client.get(f"{url}?before=101").content.decode()
    beyond = client.get(f"{url}?row=5,000").content.decode()
    assert "There is no row 5,000" in beyond
    assert "Question 100" in beyond


@pytest.mark.parametrize("row", ["0", "-1", "x", "9" * 40, "1e3", "²"])
def test_a_wrong_number_shows_the_first_page(cast: Cast, version: DatasetVersion, client: Client, row: str):
    client.force_login(cast.bob)
    assert "Question 1<" in client.get(f"/datasets/{version.dataset_id}/?row={row}").content.decode()


def test_a_search_on_the_page_marks_what_it_found(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    page = client.get(f"/datasets/{version.dataset_id}/", {"q": "in été <B>"}).content.decode()
    assert "<mark>in ÉTÉ &lt;b&gt;</mark>" in page
    assert "1 row with “in été &lt;B&gt;” in rows 1 to 100 of 100" in page
    none = client.get(f"/datasets/{version.dataset_id}/", {"q": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in none
    assert "No row with" in none


def test_htmx_gets_the_browser_alone(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    part = client.get(f"/datasets/{version.dataset_id}/", HTTP_HX_REQUEST="true", HTTP_HX_TARGET="browser").content.decode()
    assert part.startswith('<section class="panel flush browser" id="browser"')
    assert "<html" not in part


def test_rows_that_are_gone_are_said(cast: Cast, version: DatasetVersion, client: Client):
    version.rows_path.unlink()
    client.force_login(cast.bob)
    assert "not in the data folder" in client.get(f"/datasets/{version.dataset_id}/").content.decode()
    assert client.get(f"/api/v1/datasets/{version.dataset_id}/versions/1/rows").status_code == 404


def test_tools_answers_and_weights_are_told_apart(cast: Cast):
    call = {"function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    row = {"messages": [{"role": "assistant", "tool_calls": [call]}, {"role": "assistant", "content": "x" * 3000, "weight": 0}]}
    version = give_rows(cast.version, [said(1)])
    stored = rows_page(version, Asked()).rows[0]
    shown = shown_row(
        type(stored)(**{**vars(stored), "row": {**row, "tools": [{"function": {"name": "weather"}}]}}), files=["a.jsonl"]
    )
    assert shown.turns[0].calls[0].name == "weather"
    assert json.loads(shown.turns[0].calls[0].arguments) == {"city": "Oslo"}
    assert (len(shown.turns[1].head), len(shown.turns[1].rest), shown.turns[1].is_left_out) == (HEAD_CHARS, 1800, True)
    assert (shown.tools[0].name, shown.came_from) == ("weather", "a.jsonl, line 1")
    long = {"messages": [{"role": "user", "content": "x"}] * (TURNS + 5)}
    assert shown_row(type(stored)(**{**vars(stored), "row": long}), files=[]).more_turns == 5
    huge = {"messages": [{"role": "user", "content": "x" * ROW_CHARS}] * 9}
    kept = shown_row(type(stored)(**{**vars(stored), "row": huge}), files=[])
    assert sum(len(turn.head) + len(turn.rest) for turn in kept.turns) <= 1.5 * ROW_CHARS
    assert kept.turns[0].is_cut


def test_a_preference_stands_side_by_side(cast: Cast, client: Client):
    client.force_login(cast.alice)
    pair = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "What."}
    client.post("/datasets/upload/", {"file": upload(jsonl(pair, pair)), "name": "pairs"})
    page = client.get(f"/datasets/{Dataset.objects.get(name='pairs').pk}/").content.decode()
    assert page.index("Hi?") < page.index(">chosen<") < page.index("Hello.") < page.index(">rejected<") < page.index("What.")


def test_the_api_pages_and_searches(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    url = f"/api/v1/datasets/{version.dataset_id}/versions/1/rows"
    first = client.get(url, {"limit": 2}).json()
    assert [row["number"] for row in first["data"]] == [1, 2]
    assert (first["has_more"], first["after"], first["total"]) == (True, 2, 100)
    assert first["data"][0]["row"] == said(1)
    assert [row["number"] for row in client.get(url, {"after": 99}).json()["data"]] == [100]
    found = client.get(url, {"q": "needle"}).json()
    assert ([row["number"] for row in found["data"]], found["has_more"]) == ([77], False)
    assert client.get(url, {"after": 500}).json()["data"] == []
    for wrong in ({"after": "-1"}, {"after": "x"}, {"limit": 0}, {"limit": 1000}, {"q": "x" * 500}):
        assert client.get(url, wrong).status_code == 422, wrong


@pytest.mark.parametrize("part", ["rows", "problems"])
def test_a_stranger_reads_nothing_through_the_api(cast: Cast, version: DatasetVersion, client: Client, part: str):
    url = f"/api/v1/datasets/{version.dataset_id}/versions/1/{part}"
    assert client.get(url).status_code == 401
    client.force_login(cast.charlie)
    assert client.get(url).status_code == 404
    client.force_login(cast.alice)
    assert client.get(url.replace("/1/", "/7/")).status_code == 404
