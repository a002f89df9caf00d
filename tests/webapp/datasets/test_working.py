"""Progress in words, as pages that wait show it; and a task that failed, begun again."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.working import Work

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("kind", "params", "progress", "words", "percent"),
    [
        ("fetch", {}, {"done": 120 * MIB, "total": 400 * MIB, "unit": "bytes"}, "Fetching: 120 of 400 MiB", 30),
        ("check", {}, {"done": int(3.1 * GIB), "total": 10 * GIB, "unit": "bytes"}, "Reading every row: 3.1 of 10 GiB", 30),
        ("fetch", {}, {"done": 3 * MIB, "total": None, "unit": "bytes"}, "Fetching: 3.0 MiB", None),
        ("check", {}, {"done": 5, "total": 9, "words": "Looking for duplicates"}, "Looking for duplicates: 5 of 9 rows", 55),
        ("transform", {"operation": {"kind": "split"}}, {"done": 1200, "total": 4000}, "Splitting: 1,200 of 4,000 rows", 30),
        ("transform", {"operation": {"kind": "merge"}}, None, "Merging", None),
        ("check", {}, {"done": 0, "total": 0, "unit": "bytes"}, "Reading every row: 0 B", None),
    ],
)
def test_words(kind: str, params: dict[str, Any], progress: dict[str, Any] | None, words: str, percent: int | None):
    work = Work(DatasetTask(kind=kind, params=params, progress=progress, state="running"))
    assert (work.in_words, work.percent) == (words, percent)


@pytest.fixture
def task(cast: Cast) -> DatasetTask:
    DatasetVersion.objects.filter(pk=cast.version.pk).update(state="checking")
    return DatasetTask.objects.create(version=cast.version, kind="check", state="running", progress={"done": 1, "total": 4})


def test_the_page_and_the_list_show_how_far_it_is(cast: Cast, task: DatasetTask, client: Client):
    client.force_login(cast.alice)
    for address in (f"/datasets/{task.version.dataset_id}/", f"/datasets/{task.version.dataset_id}/jobs/"):
        assert 'aria-valuenow="25"' in client.get(address).content.decode(), address
    assert "Being checked · 25 %" in client.get("/datasets/").content.decode()


def test_what_failed_says_why_and_is_tried_again(cast: Cast, task: DatasetTask, client: Client):
    DatasetTask.objects.update(state="failed", problem="The <b>well</b> is dry.")
    url = f"/datasets/{task.version.dataset_id}/"
    client.force_login(cast.bob)
    assert "Try again" not in client.get(url).content.decode()
    client.force_login(cast.alice)
    page = client.get(url).content.decode()
    assert "The &lt;b&gt;well&lt;/b&gt; is dry." in page
    assert "Try again" in page
    assert client.post(f"{url}versions/1/check/").status_code == 302
    task.refresh_from_db()
    assert task.state == "waiting"
    assert "Waiting for its turn" in client.get(url).content.decode()


def test_who_is_unsure_is_led_to_the_columns(cast: Cast, client: Client):
    DatasetVersion.objects.filter(pk=cast.version.pk).update(state="unsure")
    client.force_login(cast.alice)
    page = client.get(f"/datasets/{cast.version.dataset_id}/").content.decode()
    assert "Say which column is what" in page
    assert "Needs your eye" in page
