"""What differs between two versions: looked at without being begun, worked out once, and again only when somebody asks."""

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.rows import chat, give_rows
from webapp.datasets.differences import begin_difference
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.services import delete_dataset
from webapp.datasets.tasks import run_task

pytestmark = pytest.mark.postgres
HTMX = {"HX-Request": "true"}


@pytest.fixture
def second(cast: Cast) -> DatasetVersion:
    """Of 20 rows one went, one came, and one is answered otherwise."""
    first = give_rows(cast.version, [chat(str(number)) for number in range(20)])
    second = DatasetVersion.objects.create(dataset=first.dataset, number=2, created_by=cast.alice, file_name="2")
    rows = [chat(str(number)) for number in range(1, 20)]
    rows[3] = chat("4", "<b>better</b>")
    return give_rows(second, [*rows, chat("new")])


@pytest.fixture
def url(second: DatasetVersion) -> str:
    return f"/datasets/{second.dataset_id}/versions/2/changes/"


def the_task() -> DatasetTask:
    return DatasetTask.objects.get(kind="diff")


def test_changes_are_shown_with_their_rows(cast: Cast, client: Client, url: str):
    client.force_login(cast.bob)
    page = client.get(url).content.decode()
    assert "being compared" in page
    assert f'hx-post="{url}" hx-trigger="load"' in page
    assert client.post(url, headers=HTMX).status_code == 204
    assert "hx-post" not in client.get(url).content.decode()
    assert client.get(url, headers=HTMX).headers.get("HX-Refresh") is None
    run_task(the_task().pk, runners=RUNNERS)
    assert client.get(url, headers=HTMX).headers["HX-Refresh"] == "true"
    page = client.get(url).content.decode()
    assert "&lt;b&gt;better&lt;/b&gt;" in page
    assert "<b>better</b>" not in page
    assert "Row 5 before" in page
    result = the_task().result
    assert result is not None
    assert (result["kept"], result["added"], result["removed"], result["changed"]) == (18, 1, 1, 1)


def test_a_stranger_neither_sees_nor_begins_it(cast: Cast, client: Client, url: str):
    client.force_login(cast.charlie)
    assert client.get(url).status_code == 404
    assert client.post(url).status_code == 404
    assert not DatasetTask.objects.exists()


def test_looking_begins_nothing(cast: Cast, client: Client, url: str):
    client.force_login(cast.bob)
    for headers in ({}, HTMX):
        assert client.get(url, headers=headers).headers.get("HX-Refresh") is None
    client.head(url)
    assert not DatasetTask.objects.exists()


def test_what_failed_is_begun_again_by_the_button_alone(cast: Cast, client: Client, second: DatasetVersion, url: str):
    begin_difference(cast.version, second, by=cast.alice)
    DatasetTask.objects.update(state="failed", problem="The <b>well</b> is dry.")
    client.force_login(cast.bob)
    for _ in range(2):
        page = client.get(url).content.decode()
        assert "The &lt;b&gt;well&lt;/b&gt; is dry." in page
        assert "Compare again" in page
        assert "hx-post" not in page
    assert the_task().state == "failed"
    reply = client.post(f"{url}?against=1")
    assert reply["Location"] == f"{url}?against=1"
    assert (the_task().state, the_task().problem) == ("waiting", "")


@pytest.mark.parametrize("against", ["3", "0", "x", "²", "-1", "9" * 30])
def test_an_unknown_version_is_404(cast: Cast, client: Client, url: str, against: str):
    client.force_login(cast.bob)
    assert client.get(url, {"against": against}).status_code == 404


def test_a_version_without_rows_is_not_compared(cast: Cast, client: Client, second: DatasetVersion, url: str):
    DatasetVersion.objects.filter(pk=second.pk).update(rows_sha256="", state="checking")
    client.force_login(cast.bob)
    client.post(url)
    assert "no rows yet" in client.get(url).content.decode()
    assert not DatasetTask.objects.exists()


def test_a_version_that_is_gone_is_said(cast: Cast, second: DatasetVersion):
    """The later version stays; the earlier one's rows went with it."""
    other = DatasetVersion.objects.create(dataset=second.dataset, number=3, created_by=cast.alice, file_name="3")
    task = begin_difference(give_rows(other, [chat("alone")]), second, by=cast.alice)
    other.rows_path.unlink()
    other.delete()
    run_task(task.pk, runners=RUNNERS)
    assert (the_task().state, the_task().problem) == (
        "failed",
        "The rows of one of the two versions are not in the data folder any more.",
    )
    delete_dataset(second.dataset, by=cast.alice)
