"""docs/bad-data.md, row by row: every file is sent through the API and answered as the table says."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.bad_files import FILES
from tests.webapp.datasets.bad_rows import ROWS
from webapp.datasets.models import Dataset, DatasetVersion

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "docs" / "bad-data.md"
STATES = {"normalised": "ready", "problems": "problems", "asks": "unsure"}


@dataclass(frozen=True)
class Case:
    name: str
    outcome: str
    status: int
    said: str


def cells() -> Iterator[list[str]]:
    for line in TABLE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| case |", "| input |")):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def cases() -> list[Case]:
    rows = [row for row in cells() if len(row) == 5]
    return [Case(name, outcome, int(status), said.strip("`").replace("–", "")) for name, _, outcome, status, said in rows]


def named_tests() -> list[str]:
    return [row[2].strip("`") for row in cells() if len(row) == 3]


CASES = cases()
BUILDERS = FILES | ROWS


def test_the_table_has_every_file_and_no_other():
    assert sorted(case.name for case in CASES) == sorted(BUILDERS)
    assert len(CASES) + len(named_tests()) >= 60


@pytest.mark.parametrize("named", named_tests())
def test_a_request_of_the_table_has_its_test(named: str):
    path, _, function = named.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_of_the_table(cast: Cast, client: Client, settings: Any, case: Case):
    before = set(DatasetVersion.objects.values_list("pk", "state", "rows_sha256"))
    client.force_login(cast.alice)
    made = BUILDERS[case.name]()
    file = SimpleUploadedFile("x", made.content)
    file._name = made.name  # past the cleaning of the test's own upload
    reply = client.post("/api/v1/datasets", {"file": file, "name": "bad"})
    assert reply.status_code == case.status, reply.content[:500]
    assert set(DatasetVersion.objects.exclude(dataset__name="bad").values_list("pk", "state", "rows_sha256")) == before
    if case.outcome == "refused":
        assert case.said in reply.json()["error"]["message"]
        assert not Dataset.objects.filter(name="bad").exists()
        assert [path for path in settings.DATASETS_DIR.rglob("*") if path.is_file() and path.name != ".lock"] == []
        return
    version = DatasetVersion.objects.get(dataset__name="bad")
    assert version.state == STATES[case.outcome]
    assert case.said in "\n".join(said_of(version))
    for tab in ("", "problems/"):
        page = client.get(f"/datasets/{version.dataset_id}/{tab}")
        assert page.status_code == 200
        assert not re.search(r"<script>alert|<img src=x", page.content.decode())


def said_of(version: DatasetVersion) -> list[str]:
    report = version.report or {}
    return [version.file_name, *report["notes"], *(problem["reason"] for problem in report["problems"])]
