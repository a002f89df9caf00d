"""Datasets from elsewhere, as the pages ask for them: a real process fetches from real servers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.datasets.fetching.fetches import ask, run
from tests.webapp.datasets.files import chats
from tests.worker.fetching.web_server import WebServer, redirect, whole
from webapp.datasets.fetching import FETCH, run_fetch, start_fetch
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion, FetchSecret
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task
from worker.contract.dataset_tasks import Progress
from worker.contract.fetching import FetchSecrets, WebAddress

pytestmark = pytest.mark.postgres


def test_an_address_becomes_a_dataset(alice: Client, opened: WebServer):
    opened.pages["/files/chats.jsonl"] = whole(chats(7))
    version = ask(alice, "https", address=opened.url("localhost", "/files/chats.jsonl?key=s3cret"))
    assert (version.dataset.name, version.state, version.origin, version.sha256) == ("chats", "checking", "fetched", "")
    page = alice.get(f"/datasets/{version.dataset_id}/").content.decode()
    assert "Connecting" in page or "Waiting for its turn" in page
    task = run(version)
    version.refresh_from_db()
    assert (task.state, task.problem) == ("done", "")
    assert (version.state, version.rows, version.sha256) == ("ready", 7, hashlib.sha256(chats(7)).hexdigest())
    assert version.path.read_bytes() == chats(7)
    assert version.file_name == "chats.jsonl"
    assert "Fetched from https://localhost" in alice.get(f"/datasets/{version.dataset_id}/versions/").content.decode()
    assert opened.asked[0][0] == "/files/chats.jsonl?key=s3cret"
    assert not FetchSecret.objects.exists()
    assert "s3cret" not in json.dumps([version.recipe, task.params, task.result])


@pytest.mark.parametrize(
    "address",
    [
        "https://localhost/secret",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://2130706433/",
    ],
)
def test_addresses_inside_are_refused_and_nothing_is_stored(alice: Client, address: str, own_data_folder: Path, settings: Any):
    version = ask(alice, "https", address=address, name="inside")
    task = run(version)
    assert task.state == "failed"
    assert "not on the public internet" in task.problem
    page = alice.get(f"/datasets/{version.dataset_id}/").content.decode()
    assert "Nothing was stored" in page
    assert "Try again" in page
    assert not [path for path in Path(settings.DATASETS_DIR).rglob("*") if path.is_file() and path.name != ".lock"]
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())


def test_a_redirect_inside_is_refused(alice: Client, opened: WebServer):
    opened.pages["/start"] = redirect(f"https://127.0.0.1:{opened.server_port}/secret")
    opened.pages["/secret"] = whole(chats())
    assert "not on the public internet" in run(ask(alice, "https", address=opened.url("localhost", "/start"))).problem
    assert [path for path, _ in opened.asked] == ["/start"]


def test_a_file_that_is_no_dataset_is_refused_like_an_upload(alice: Client, opened: WebServer):
    opened.pages["/a.jsonl"] = whole(b"\x89PNG\r\n\x1a\n" + b"\x00" * 100)
    version = ask(alice, "https", address=opened.url("localhost", "/a.jsonl"))
    assert run(version).state == "failed"
    version.refresh_from_db()
    assert (version.state, version.sha256) == ("problems", "")


def test_a_large_file_goes_on_to_the_check(alice: Client, opened: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("webapp.datasets.arriving.CHECKED_AT_ONCE_BYTES", 100)
    opened.pages["/a.jsonl"] = whole(chats(5))
    version = ask(alice, "https", address=opened.url("localhost", "/a.jsonl"))
    run(version)
    version.refresh_from_db()
    assert (version.state, bool(version.sha256)) == ("checking", True)
    run_task(version.tasks.get(kind="check").pk, runners=RUNNERS)
    version.refresh_from_db()
    assert (version.state, version.rows) == ("ready", 5)


def test_try_again_with_another_address(alice: Client, cast: Cast, opened: WebServer, client: Client):
    opened.pages["/b.jsonl"] = whole(chats(3))
    version = ask(alice, "https", address=opened.url("localhost", "/a.jsonl"), name="chats")
    assert "There is nothing at" in run(version).problem
    again = f"/datasets/{version.dataset_id}/fetch-again/"
    client.force_login(cast.bob)
    assert client.post(again, {"address": "https://x.org/"}).status_code == 403
    client.force_login(cast.charlie)
    assert client.post(again, {"address": "https://x.org/"}).status_code == 404
    client.force_login(cast.alice)
    wrong = client.post(again, {"address": "nonsense"})
    assert wrong.status_code == 422
    assert "begins with https" in wrong.content.decode()
    assert client.post(again, {"address": opened.url("localhost", "/b.jsonl")}).status_code == 302
    assert run(version).state == "done"
    version.refresh_from_db()
    assert (version.state, version.rows) == ("ready", 3)
    assert client.post(again, {"address": "https://x.org/"}).status_code == 404, "it is here"


def test_the_same_name_takes_a_failed_fetch_up(alice: Client, opened: WebServer):
    version = ask(alice, "https", address=opened.url("localhost", "/a.jsonl"), name="chats")
    taken = alice.post("/datasets/fetch/https/", {"address": "https://x.org/a", "name": "chats"})
    assert taken.status_code == 409, "it has not failed yet"
    run(version)
    assert ask(alice, "https", address=opened.url("localhost", "/b.jsonl"), name="chats") == version


def test_progress_is_seen_and_one_dataset_is_fetched_at_a_time(alice: Client, cast: Cast):
    first, second = (
        start_fetch(WebAddress(address=f"https://data.example.org/{n}"), secrets=FetchSecrets(), name=n, owner=cast.alice)
        for n in "ab"
    )

    def long(task: DatasetTask, say: Any) -> dict[str, Any]:
        say(Progress(done=512, total=2048, unit="bytes"))
        page = alice.get(f"/datasets/{first.dataset_id}/fetching/").content.decode()
        assert "512 B of 2.0 KiB" in page
        run_task(second.tasks.get().pk, runners=RUNNERS)
        assert second.tasks.get().state == "waiting"
        assert "Waiting for its turn" in alice.get(f"/datasets/{second.dataset_id}/").content.decode()
        return {}

    run_task(first.tasks.get().pk, runners={FETCH: long})
    assert alice.get(f"/datasets/{first.dataset_id}/fetching/").headers["HX-Refresh"] == "true"


def test_a_process_that_dies_is_said(alice: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch):
    version = start_fetch(
        WebAddress(address="https://data.example.org/a"), secrets=FetchSecrets(query="canary"), name="a", owner=cast.alice
    )
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert "ended with code 1" in run(version).problem
    version.refresh_from_db()
    assert version.state == "problems"
    assert not FetchSecret.objects.exists()


def test_a_dataset_that_is_deleted_meanwhile(alice: Client, cast: Cast):
    version = start_fetch(WebAddress(address="https://localhost/a"), secrets=FetchSecrets(), name="a", owner=cast.alice)
    task = version.tasks.get()
    DatasetTask.objects.update(state="running", beat_at=timezone.now())
    assert alice.post(f"/datasets/{version.dataset_id}/delete/").status_code == 302
    run_task(task.pk, runners={FETCH: run_fetch})
    assert not Dataset.objects.filter(pk=version.dataset_id).exists()


def test_pages_of_a_version_without_bytes(alice: Client, cast: Cast):
    version = start_fetch(WebAddress(address="https://localhost/<script>"), secrets=FetchSecrets(), name="a", owner=cast.alice)
    for state in ("checking", "problems"):
        DatasetVersion.objects.filter(pk=version.pk).update(state=state)
        for tab in ("", "problems/", "versions/", "jobs/"):
            page = alice.get(f"/datasets/{version.dataset_id}/{tab}")
            assert page.status_code == 200
            assert "<script>" not in page.content.decode().split("<main")[1]
        assert alice.get("/datasets/").status_code == 200
    assert alice.get(f"/datasets/{version.dataset_id}/versions/1/file/").status_code == 404
