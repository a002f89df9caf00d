"""Looking at datasets: a team's own, and nobody else's."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import Cast
from tests.webapp.datasets.files import chats, jsonl, upload
from tests.webapp.jobs.work import submitted
from webapp.datasets.lineage import history_of
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.files import NAME, PATH

TABS = ("", "problems/", "versions/", "jobs/", "versions/1/file/")


@pytest.fixture
def dataset(cast: Cast) -> Dataset:
    """Alice's, uploaded by her."""
    visitor = Client()
    visitor.force_login(cast.alice)
    visitor.post("/datasets/upload/", {"file": upload(chats(60), "détails <b>.jsonl"), "name": "chats"})
    return Dataset.objects.get(name="chats")


def test_it_works(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.bob)
    for tab in TABS:
        assert client.get(f"/datasets/{dataset.pk}/{tab}").status_code == 200, tab
    assert "chats" in client.get("/datasets/").content.decode()


@pytest.mark.parametrize("tab", TABS)
def test_a_stranger_finds_nothing(cast: Cast, dataset: Dataset, client: Client, tab: str):
    client.force_login(cast.charlie)
    assert client.get(f"/datasets/{dataset.pk}/{tab}").status_code == 404
    assert "chats" not in client.get("/datasets/").content.decode()


def test_an_administrator_sees_every_team(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.ada)
    assert client.get(f"/datasets/{dataset.pk}/").status_code == 200


def test_the_first_rows_are_shown(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.alice)
    page = client.get(f"/datasets/{dataset.pk}/").content.decode()
    assert "Answer 24" in page
    assert "Answer 25" not in page
    assert "Rows 1 to 25 of 60" in page


def test_what_rows_hold_is_never_markup(cast: Cast, client: Client):
    client.force_login(cast.alice)
    client.post("/datasets/upload/", {"file": upload(jsonl({"text": "<img src=x onerror=alert(1)>"})), "name": "<i>evil</i>"})
    evil = Dataset.objects.get(name="<i>evil</i>")
    for address in (f"/datasets/{evil.pk}/", "/datasets/"):
        page = client.get(address).content.decode()
        assert "<img src=x" not in page
        assert "<i>evil" not in page


def test_the_original_is_sent_as_a_download(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.bob)
    reply = client.get(f"/datasets/{dataset.pk}/versions/1/file/")
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers[PATH.decode()] == str(dataset.versions.get().path)
    assert reply.headers[NAME.decode()] == "d%C3%A9tails%20%3Cb%3E.jsonl"


@pytest.mark.parametrize("number", ["2", "0", "x", "-1", "9" * 30])
def test_an_unknown_version_is_404(cast: Cast, dataset: Dataset, client: Client, number: str):
    client.force_login(cast.alice)
    assert client.get(f"/datasets/{dataset.pk}/?version={number}").status_code == 404
    assert client.get(f"/datasets/{dataset.pk}/versions/{number}/file/").status_code == 404


def test_an_unknown_dataset_is_404(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get("/datasets/999/").status_code == 404
    assert client.get(f"/datasets/{'9' * 30}/").status_code == 404


def test_a_file_that_is_gone_is_404(cast: Cast, dataset: Dataset, client: Client):
    dataset.versions.get().path.unlink()
    client.force_login(cast.alice)
    assert client.get(f"/datasets/{dataset.pk}/versions/1/file/").status_code == 404
    assert client.get(f"/datasets/{dataset.pk}/").status_code == 200


def test_an_empty_list_explains_itself(cast: Cast, client: Client):
    client.force_login(cast.charlie)
    page = client.get("/datasets/").content.decode()
    assert "Add your first dataset" in page
    assert "&quot;messages&quot;" in page


def test_a_dataset_is_renamed(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.alice)
    url = f"/datasets/{dataset.pk}/rename/"
    assert client.post(url, {"name": "Chats, mended"}).status_code == 302
    assert client.post(url, {"name": "greetings"}).status_code == 409
    assert client.post(url, {"name": " \u200b"}).status_code == 422
    client.force_login(cast.bob)
    assert client.post(url, {"name": "Bob's"}).status_code == 403
    client.force_login(cast.charlie)
    assert client.post(url, {"name": "Charlie's"}).status_code == 404
    assert Dataset.objects.get(pk=dataset.pk).name == "Chats, mended"


def test_it_is_deleted_with_its_bytes(cast: Cast, dataset: Dataset, client: Client):
    path = dataset.versions.get().path
    client.force_login(cast.bob)
    assert client.post(f"/datasets/{dataset.pk}/delete/").status_code == 403
    client.force_login(cast.charlie)
    assert client.post(f"/datasets/{dataset.pk}/delete/").status_code == 404
    assert path.is_file()
    client.force_login(cast.alice)
    assert client.post(f"/datasets/{dataset.pk}/delete/")["Location"] == "/datasets/"
    assert not Dataset.objects.filter(pk=dataset.pk).exists()
    assert not path.exists()


def test_bytes_that_another_dataset_shares_stay(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.charlie)
    client.post("/datasets/upload/", {"file": upload(chats(60)), "name": "the same"})
    client.force_login(cast.alice)
    path = dataset.versions.get().path
    client.post(f"/datasets/{dataset.pk}/delete/")
    assert path.is_file()


def test_a_dataset_in_use_stays(cast: Cast, client: Client):
    job = submitted(cast, name="my-run")
    client.force_login(cast.alice)
    reply = client.post(f"/datasets/{cast.version.dataset_id}/delete/")
    assert reply.status_code == 409
    assert f"#{job.pk} my-run" in reply.content.decode()
    assert Dataset.objects.filter(pk=cast.version.dataset_id).exists()
    assert "my-run" in client.get(f"/datasets/{cast.version.dataset_id}/jobs/").content.decode()


def test_a_version_that_failed_says_so_in_every_list_and_no_page_asks_on(cast: Cast, dataset: Dataset, client: Client):
    dataset.versions.update(state="checking")
    version = dataset.versions.get()
    DatasetTask.objects.create(version=version, kind="check", state="running")
    client.force_login(cast.alice)
    assert "hx-trigger" in client.get("/datasets/").content.decode()
    DatasetTask.objects.update(state="failed", problem="The well is dry.")
    for address in ("/datasets/", f"/datasets/{dataset.pk}/versions/"):
        page = client.get(address).content.decode()
        assert "Not finished" in page, address
        assert "Being checked" not in page, address
        assert "hx-trigger" not in page, address


def test_a_fetch_that_was_given_up_is_not_being_fetched(cast: Cast, dataset: Dataset, client: Client):
    """Its worker died: nobody was left to write the version's own state."""
    dataset.versions.update(state="checking", origin="fetched", sha256="", rows_sha256="")
    DatasetTask.objects.create(version=dataset.versions.get(), kind="fetch", state="failed")
    client.force_login(cast.alice)
    for address in ("/datasets/", f"/datasets/{dataset.pk}/", f"/datasets/{dataset.pk}/versions/"):
        page = client.get(address).content.decode()
        assert "Not fetched" in page, address
        assert "Being fetched" not in page, address


def test_a_version_without_bytes_offers_no_download(cast: Cast, dataset: Dataset, client: Client):
    dataset.versions.update(sha256="", rows_sha256="", origin="sampled", recipe={"count": 5, "seed": 1}, state="checking")
    client.force_login(cast.alice)
    address = f"/datasets/{dataset.pk}/versions/1/file/"
    assert address not in client.get(f"/datasets/{dataset.pk}/versions/").content.decode()
    assert client.get(address).status_code == 404


def test_rows_that_are_gone_are_404(cast: Cast, dataset: Dataset, client: Client):
    version = dataset.versions.get()
    dataset.versions.update(sha256="")
    version.rows_path.unlink()
    client.force_login(cast.alice)
    assert client.get(f"/datasets/{dataset.pk}/versions/1/file/").status_code == 404


def test_what_is_refused_of_an_older_version_is_said_on_its_own_page(cast: Cast, dataset: Dataset, client: Client):
    client.force_login(cast.alice)
    client.post(f"/datasets/{dataset.pk}/versions/add/", {"file": upload(chats(5))})
    for action in ("clean", "split", "sample"):
        reply = client.post(f"/datasets/{dataset.pk}/versions/1/{action}/", {"amount": "no", "count": "no"})
        assert reply.status_code == 422, action
        assert "This is version 1." in reply.content.decode(), action


def test_many_versions_are_told_in_as_many_queries_as_one(cast: Cast, dataset: Dataset):
    def ask() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert len(history_of(dataset)) == dataset.versions.count()
        return len(queries)

    first = dataset.versions.get()
    sampled = [make(dataset, number) for number in (2, 3)]
    sampled[0].parents.add(first)
    few = ask()
    for number in range(4, 12):
        made = make(dataset, number)
        made.parents.add(first, sampled[0])
    assert ask() == few
    told = history_of(dataset)
    assert [each.used_by for each in told][-2:] == [8, 9]
    assert {table for each in told for table in each.version.get_deferred_fields()} == {"report"}


def make(dataset: Dataset, number: int) -> DatasetVersion:
    about = {"origin": "sampled", "recipe": {"count": number, "seed": 1}, "file_name": "rows.jsonl"}
    return DatasetVersion.objects.create(dataset=dataset, number=number, created_by=dataset.owner, state="ready", **about)
