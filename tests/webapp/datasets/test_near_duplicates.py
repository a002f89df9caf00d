"""Rows that are nearly the same: looked for on request, once, and shown to the team."""

from pathlib import Path

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.rows import give_rows
from webapp.datasets import near_duplicates
from webapp.datasets.models import DatasetTask, DatasetVersion, stored_path
from webapp.datasets.near_duplicates import numbers_to_leave_out, search_in, start_search
from webapp.datasets.processes import TaskFailed
from webapp.datasets.runners import RUNNERS
from webapp.datasets.services import delete_dataset
from webapp.datasets.tasks import run_task

pytestmark = pytest.mark.postgres
HTMX = {"HX-Request": "true"}
STORY = "The harbour master counts the ships at dawn and writes every name into the long green book by the window <b>"


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    """Rows 3 and 4 are nearly row 1."""
    texts = [STORY, "Quite another text about bread and butter", f"{STORY} today", f"{STORY}\n  TODAY indeed"]
    return give_rows(cast.version, [{"text": text} for text in texts])


def address(version: DatasetVersion) -> str:
    return f"/datasets/{version.dataset_id}/versions/{version.number}/near-duplicates/"


def found(version: DatasetVersion, *, by: Cast) -> None:
    start_search(version, by=by.alice)
    run_task(DatasetTask.objects.get(kind="near_duplicates").pk, runners=RUNNERS)


def test_it_works(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.alice)
    assert "Look for them" in client.get(address(version), headers=HTMX).content.decode()
    waiting = client.post(address(version), headers=HTMX).content.decode()
    assert "every 2s" in waiting
    run_task(DatasetTask.objects.get(kind="near_duplicates").pk, runners=RUNNERS)
    page = client.get(address(version), headers=HTMX).content.decode()
    assert "2 of 4 rows are like an earlier one, in 1 group" in page
    assert "every 2s" not in page
    assert "window &lt;b&gt;" in page
    assert numbers_to_leave_out(version) == [3, 4]


def test_a_version_without_them_keeps_the_first_of_each_group(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.alice)
    assert client.post(address(version), {"leave_out": "on"}).status_code == 422
    found(version, by=cast)
    assert client.post(address(version), {"leave_out": "on"}).status_code == 302
    run_task(DatasetTask.objects.get(kind="transform").pk, runners=RUNNERS)
    cleaned = version.dataset.versions.get(number=2)
    assert (cleaned.state, cleaned.rows, cleaned.origin) == ("ready", 2, "cleaned")


def test_the_problems_tab_fetches_it(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.alice)
    assert address(version) in client.get(f"/datasets/{version.dataset_id}/problems/").content.decode()


def test_a_team_mate_sees_it_and_may_not_begin_it(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.bob)
    page = client.get(address(version), headers=HTMX).content.decode()
    assert "<button" not in page
    assert client.post(address(version), headers=HTMX).status_code == 403
    assert not DatasetTask.objects.filter(kind="near_duplicates").exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_stranger_finds_nothing(cast: Cast, version: DatasetVersion, client: Client, method: str):
    client.force_login(cast.charlie)
    assert getattr(client, method)(address(version), headers=HTMX).status_code == 404


@pytest.mark.parametrize("number", ["0", "99"])
def test_a_version_that_is_not_there(cast: Cast, version: DatasetVersion, client: Client, number: str):
    client.force_login(cast.alice)
    assert client.post(address(version).replace("/1/near", f"/{number}/near"), headers=HTMX).status_code == 404


def test_a_version_without_rows_has_nothing_to_look_at(cast: Cast, client: Client):
    DatasetVersion.objects.update(rows_sha256="")
    client.force_login(cast.alice)
    assert client.post(address(cast.version), headers=HTMX).status_code == 404


def test_without_scripts_the_tab_comes_back(cast: Cast, version: DatasetVersion, client: Client):
    client.force_login(cast.alice)
    answer = client.post(address(version))
    assert answer.headers["Location"] == f"/datasets/{version.dataset_id}/problems/?version=1"


def test_a_search_that_failed_says_why_and_can_be_begun_again(
    cast: Cast, version: DatasetVersion, client: Client, monkeypatch: pytest.MonkeyPatch
):
    def fail(*args: object, **options: object) -> bytes:
        raise TaskFailed("The process ended with code 9.")

    with monkeypatch.context() as broken:
        broken.setattr(near_duplicates, "run_in", fail)
        found(version, by=cast)
    assert search_in(version).problem == "The process ended with code 9."
    client.force_login(cast.alice)
    assert "Look again" in client.get(address(version), headers=HTMX).content.decode()
    found(version, by=cast)
    assert search_in(version).report is not None


def test_a_rows_file_that_is_gone_is_said(cast: Cast, version: DatasetVersion):
    version.rows_path.unlink()
    found(version, by=cast)
    assert "not there any more" in search_in(version).problem


def test_the_numbers_go_with_the_dataset(cast: Cast, version: DatasetVersion):
    found(version, by=cast)
    task = DatasetTask.objects.get(kind="near_duplicates")
    assert task.result is not None
    kept: Path = stored_path(task.result["sha256"])
    assert kept.is_file()
    delete_dataset(version.dataset, by=cast.alice)
    assert not kept.exists()
