"""The Problems tab: kinds as filters, pages, downloads that a spreadsheet cannot run, and what a stranger gets."""

import csv
import io
from pathlib import Path

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import body_of
from tests.webapp.datasets.rows import give_rows
from webapp.datasets.listed_problems import AskedProblems, harmless, problems_page
from webapp.datasets.models import DatasetVersion
from webapp.datasets.scanning import Cursor
from webapp.datasets.store import staged
from worker.rows.findings import Finding, as_problems
from worker.rows.problems_file import ProblemsWriter

BAD, WARNED = 120, 70


@pytest.fixture
def version(cast: Cast, tmp_path: Path) -> DatasetVersion:
    """One row that can be used; 120 that cannot, of two kinds; 70 warnings. Texts begin like formulas and hold markup."""
    version = give_rows(cast.version, [{"text": "fine"}])
    path = tmp_path / "problems"
    reason = "=cmd|' /C calc'!A0 <script>alert(1)</script>"
    bad = [
        Finding(0, line, kind, reason, "", "messages[0]", "<img src=x>", b"=1+1 row %d\r\n" % line)
        for line in range(1, BAD + 1)
        for kind in (("not_json" if line % 3 else "wrong_role"),)
    ]
    warned = [Finding(0, line, "bad_text", "Looks odd.", "", raw=b"warned", is_warning=True) for line in range(1, WARNED + 1)]
    with ProblemsWriter(path) as writer:
        writer.add_batch(as_problems(bad))
        writer.add_batch(as_problems(warned))
    with staged(path) as file:
        file.settle()
    report = {**(version.report or {}), "bad_rows": BAD, "problem_counts": {"not_json": 80, "wrong_role": 40}}
    report["warning_counts"] = {"bad_text": WARNED}
    fields = {"state": "problems", "bad_rows": BAD, "report": report, "problems_sha256": file.sha256}
    DatasetVersion.objects.filter(pk=version.pk).update(**fields)
    version.refresh_from_db()
    return version


def lines(version: DatasetVersion, **asked: object) -> list[int]:
    return [problem.line for problem in problems_page(version, AskedProblems(**asked)).problems]  # type: ignore[arg-type]


def test_kinds_and_warnings_are_told_apart(version: DatasetVersion):
    assert lines(version) == list(range(1, 51))
    assert lines(version, at=Cursor(101)) == list(range(101, 121))
    assert lines(version, kind="wrong_role", limit=3) == [3, 6, 9]
    assert lines(version, is_warning=True, at=Cursor(191, is_backwards=True), limit=2) == [69, 70]


def test_the_tab_shows_them(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.alice)
    url = f"/datasets/{version.dataset_id}/problems/"
    page = client.get(url).content.decode()
    assert "<script>alert" not in page
    assert "&lt;img src=x&gt;" in page
    assert "Problems 120" in page
    assert "Warnings 70" in page
    assert "not json <b>80</b>" in page
    assert "?row=51" in page
    assert "Use the good rows" in page
    assert "Looks odd" in client.get(url, {"show": "warnings"}).content.decode()
    only = client.get(url, {"kind": "wrong_role"}).content.decode()
    assert only.count("<tr><td") == 40
    client.force_login(cast.bob)
    assert "Use the good rows" not in client.get(url).content.decode()


def test_the_bad_rows_come_as_they_stood(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    reply = client.get(f"/datasets/{version.dataset_id}/versions/1/bad-rows/")
    assert reply.headers["Content-Disposition"].startswith("attachment")
    assert body_of(reply) == b"".join(b"=1+1 row %d\n" % line for line in range(1, BAD + 1))


def test_the_csv_runs_nothing(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    reply = client.get(f"/datasets/{version.dataset_id}/versions/1/problems.csv")
    rows = list(csv.reader(io.StringIO(body_of(reply).decode("utf-8-sig"))))
    assert len(rows) == 1 + BAD + WARNED
    assert rows[1][:5] == ["rows.jsonl" if version.files.exists() else "", "1", "messages[0]", "problem", "not_json"]
    assert rows[1][5].startswith("'=cmd|")
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_formula_is_text(cell: str):
    assert harmless(cell) == f"'{cell}"
    assert harmless(f"a{cell}") == f"a{cell}"


@pytest.mark.parametrize("part", ["bad-rows/", "problems.csv"])
def test_a_stranger_downloads_nothing(cast: Cast, version: DatasetVersion, client: Client, part: str):
    client.force_login(cast.charlie)
    assert client.get(f"/datasets/{version.dataset_id}/versions/1/{part}").status_code == 404
    client.force_login(cast.alice)
    version.problems_path.unlink()
    assert client.get(f"/datasets/{version.dataset_id}/versions/1/{part}").status_code == 404
    assert "not in the data folder" in client.get(f"/datasets/{version.dataset_id}/problems/").content.decode()


def test_the_api_lists_them(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    url = f"/api/v1/datasets/{version.dataset_id}/versions/1/problems"
    first = client.get(url, {"limit": 2, "kind": "wrong_role"}).json()
    assert [problem["line"] for problem in first["data"]] == [3, 6]
    assert first["has_more"]
    assert [
        problem["line"] for problem in client.get(url, {"limit": 1, "kind": "wrong_role", "after": first["after"]}).json()["data"]
    ] == [9]
    assert len(client.get(url, {"warnings": "true", "limit": 100}).json()["data"]) == WARNED
