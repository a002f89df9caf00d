"""Datasets from elsewhere, as the pages ask for them: a real process fetches from real servers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pydantic import ValidationError

from tests.cast import Cast
from tests.seaweed import ACCESS_KEY, SECRET_KEY, SeaweedServer, put
from tests.servers import running
from tests.webapp.datasets.files import chats
from tests.worker.fetching.conftest import authority, server  # noqa: F401
from tests.worker.fetching.hub_server import COMMIT, TOKEN, put_dataset
from tests.worker.fetching.web_server import WebServer, redirect, whole
from webapp.datasets.fetching import FETCH, forget_secrets, run_fetch, start_fetch
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion, FetchSecret, OpenHost
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task
from worker.contract.dataset_tasks import Progress
from worker.contract.fetching import FetchSecrets, WebAddress

pytestmark = pytest.mark.postgres


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


@pytest.fixture
def opened(cast: Cast, server: WebServer) -> WebServer:  # noqa: F811
    OpenHost.objects.create(name=f"localhost:{server.server_port}", opened_by=cast.ada)
    return server


def newest() -> DatasetVersion:
    return DatasetVersion.objects.latest("pk")


def run(version: DatasetVersion) -> DatasetTask:
    """What the CPU worker does when it is rung."""
    task = version.tasks.get(kind=FETCH)
    run_task(task.pk, runners=RUNNERS)
    task.refresh_from_db()
    return task


def ask(client: Client, kind: str, **fields: str) -> DatasetVersion:
    reply = client.post(f"/datasets/fetch/{kind}/", fields)
    assert reply.status_code == 302, reply.content.decode()
    assert reply["Location"] == f"/datasets/{newest().dataset_id}/"
    return newest()


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


def test_nothing_that_shows_secrets_says_them():
    with pytest.raises(ValidationError) as caught:
        FetchSecrets(secret_access_key="canary" * 100)
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(FetchSecrets(**dict.fromkeys(FetchSecrets.model_fields, "canary")))


def test_secrets_are_stored_encrypted_and_go_with_the_fetch(alice: Client, cast: Cast):
    from django.db import connection

    secrets = FetchSecrets(access_key_id="a", secret_access_key="canary")
    version = start_fetch(WebAddress(address="https://data.example.org/a"), secrets=secrets, name="x", owner=cast.alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM datasets_fetchsecret")
        assert "canary" not in str(cursor.fetchall())
    forget_secrets()
    assert FetchSecret.objects.count() == 1, "it has not been fetched yet"
    version.tasks.update(state="failed")
    forget_secrets()
    assert not FetchSecret.objects.exists()


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


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("https", {"address": ""}, "required"),
        ("https", {"address": "ftp://example.org/a"}, "begins with https"),
        ("https", {"address": "https://user:secret@example.org/a"}, "user name and password"),
        ("https", {"address": "http://example.org/a"}, "Use https"),
        ("https", {"address": "https://[::1"}, "begins with https"),
        ("hub", {"dataset": "../../etc"}, "owner/name"),
        ("hub", {"dataset": "a/b/c"}, "owner/name"),
        ("s3", {"address": "bucket/key"}, "s3://bucket/key"),
        ("s3", {"address": "s3://bucket/"}, "s3://bucket/key"),
        ("s3", {"address": "s3://b!/key"}, "cannot be one"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a"}, "both keys"),
        ("s3", {"address": "s3://bucket/key", "region": "../x"}, "cannot be one"),
        ("s3", {"address": "s3://bucket/key", "endpoint": "http://127.0.0.1:9000"}, "Use https"),
        ("s3", {"address": "s3://bucket/key", "endpoint": "https://a.example.org/?X-Amz-Signature=canary"}, "the endpoint alone"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a", "secret_access_key": "x" * 501}, "at most 500"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a" * 201, "secret_access_key": "x"}, "at most 200"),
    ],
)
def test_wrong_wishes_are_said_at_the_form(alice: Client, kind: str, fields: dict[str, str], word: str):
    before = Dataset.objects.count()
    reply = alice.post(f"/datasets/fetch/{kind}/", fields)
    assert reply.status_code == 422
    assert word in reply.content.decode()
    assert Dataset.objects.count() == before


def test_an_unknown_source_is_not_there(alice: Client):
    assert alice.post("/datasets/fetch/ftp/", {}).status_code == 404


@pytest.mark.parametrize(
    ("kind", "word"), [("hub", "owner/name"), ("https", "Address of the file"), ("s3", "s3://bucket"), ("x", "Drop files")]
)
def test_every_source_is_a_link(alice: Client, kind: str, word: str):
    assert word in alice.get(f"/datasets/?from={kind}").content.decode()


def test_a_hub_dataset_with_the_users_token(alice: Client, cast: Cast, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    put_dataset(opened, "team/chats", {"train.jsonl": chats(6), "test.jsonl": chats(2)}, gated=True)
    version = ask(alice, "hub", dataset="https://huggingface.co/datasets/team/chats")
    task = run(version)
    assert "accept its conditions" in task.problem
    stored = alice.post("/account/hub-token/", {"hub_token": TOKEN})
    assert stored.status_code == 302
    assert TOKEN not in alice.get("/account/").content.decode()
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/chats"})
    assert run(version).problem == ""
    version.refresh_from_db()
    assert version.recipe["commit"] == COMMIT
    assert [(file.name, file.split) for file in version.files.all()] == [("train.jsonl", "train"), ("test.jsonl", "test")]
    assert (version.state, version.rows) == ("ready", 8)


def test_trying_again_takes_the_token_of_whoever_tries(alice: Client, cast: Cast, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    cast.alice.hub_token = TOKEN
    cast.alice.save()
    version = ask(alice, "hub", dataset="team/nothing")
    assert "no dataset team/nothing" in run(version).problem
    put_dataset(opened, "team/private", {"train.jsonl": chats(6)}, gated=True)
    alice.force_login(cast.ada)
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/private"})
    assert "accept its conditions" in run(version).problem, "an administrator does not read with somebody else's token"
    assert [told.get("authorization") for _, told in opened.asked] == [f"Bearer {TOKEN}", None]


def test_a_hub_dataset_with_several_parts_asks_which(alice: Client, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    card = {"configs": [{"config_name": name, "data_files": f"{name}.jsonl"} for name in ("en", "de")]}
    put_dataset(opened, "team/chats", {"en.jsonl": chats(3), "de.jsonl": chats(4)}, card=card)
    version = ask(alice, "hub", dataset="team/chats")
    assert "Name the configuration: en, de." in run(version).problem
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/chats", "config": "de"})
    run(version)
    version.refresh_from_db()
    assert version.rows == 4


def test_an_object_of_s3(alice: Client, cast: Cast, tmp_path: Path):
    folder = tmp_path / "seaweed"
    folder.mkdir()
    store = SeaweedServer(folder)
    with running(store):
        put(store, "data")
        put(store, "data/chats.jsonl", chats(4))
        OpenHost.objects.create(name=f"127.0.0.1:{store.port}")
        fields = {"address": "s3://data/chats.jsonl", "endpoint": store.url, "access_key_id": ACCESS_KEY}
        version = ask(alice, "s3", secret_access_key="wrong", **fields)
        task = run(version)
        assert "The secret key does not belong to the access key." in task.problem
        assert not FetchSecret.objects.exists()
        page = alice.get(f"/datasets/{version.dataset_id}/").content.decode()
        assert "wrong" not in page.split("<main")[1].replace("field wrong", "")
        alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"secret_access_key": SECRET_KEY, **fields})
        assert run(version).problem == ""
    version.refresh_from_db()
    assert (version.state, version.rows) == ("ready", 4)
    assert SECRET_KEY not in json.dumps([version.recipe, *DatasetTask.objects.values_list("params", "result")])


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
