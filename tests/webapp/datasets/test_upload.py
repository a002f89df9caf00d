"""Uploads: what is good becomes a version, what is no dataset leaves nothing behind."""

import hashlib
from pathlib import Path

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import ANSWER, QUESTION, chats, jsonl, upload
from webapp.datasets import arriving, tasks
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task

URL = "/datasets/upload/"


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def new_version() -> DatasetVersion:
    return DatasetVersion.objects.exclude(dataset__name="greetings").get()


def test_it_works(cast: Cast, alice: Client, settings):
    reply = alice.post(URL, {"file": upload(chats()), "name": "Support"})
    version = new_version()
    assert reply["Location"] == f"/datasets/{version.dataset_id}/"
    assert (version.dataset.name, version.dataset.team, version.dataset.owner) == ("Support", cast.alice.team, cast.alice)
    assert (version.state, version.format, version.rows, version.number) == ("ready", "messages", 12, 1)
    assert version.sha256 == hashlib.sha256(chats()).hexdigest()
    assert version.path.read_bytes() == chats()
    assert sorted(files_under(settings.DATASETS_DIR)) == sorted([version.path, version.rows_path, version.problems_path])
    assert files_under(Path(settings.FILE_UPLOAD_TEMP_DIR)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty"),
        (b"\n \n", "The file is empty"),
        (b"\xef\xbb\xbf", "The file is empty"),
        (b"[]", "list is empty"),
        (b'[{"text": "a"}', "ends in the middle"),
        ('{"text": "é"}\n'.encode("latin-1"), "not UTF-8"),
        ('{"text": "a"}\n'.encode("utf-16"), "UTF-16"),
        (b"<!doctype html><p>Sign in", "HTML"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x00\x01\x02", "binary"),
        (b"x", "single character"),
        (jsonl({"messages": [QUESTION]}), "no assistant turn"),
        (b'{"text": "' + b"a" * (10 * 2**20) + b'"}\n', "longer than 4 MiB"),
    ],
)
def test_what_is_no_dataset_leaves_nothing(cast: Cast, alice: Client, settings, content: bytes, said: str):
    reply = alice.post(URL, {"file": upload(content)})
    assert reply.status_code == 422
    assert said in reply.content.decode()
    assert "Nothing was stored." in reply.content.decode()
    assert Dataset.objects.count() == 1
    assert files_under(settings.DATASETS_DIR) == []
    assert files_under(Path(settings.FILE_UPLOAD_TEMP_DIR)) == []


def test_an_array_is_read_whatever_it_is_called(cast: Cast, alice: Client):
    alice.post(URL, {"file": upload(b'[{"text": "a"}, {"text": "b"}]')})
    assert (new_version().state, new_version().format, new_version().rows) == ("ready", "text", 2)


def test_lines_with_problems_are_stored_and_named(cast: Cast, alice: Client):
    content = chats(3) + b"nonsense\n" + jsonl({"messages": [QUESTION]}, {"messages": [QUESTION, ANSWER]})
    alice.post(URL, {"file": upload(content)})
    version = new_version()
    assert (version.state, version.rows) == ("problems", 4)
    assert [problem["line"] for problem in version.report["problems"]] == [4, 5]
    page = alice.get(f"/datasets/{version.dataset_id}/problems/").content.decode()
    assert "no assistant turn" in page
    assert "<b>1</b>" in page


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\data\\chats.jsonl", "chats.jsonl"),
        ("evil\u202elnosj.jsonl", "evillnosj.jsonl"),
        ("two\nlines\x00.jsonl", "twolines.jsonl"),
        ("a" * 400 + ".jsonl", "a" * 249 + ".jsonl"),
        ("CON", "CON"),
    ],
)
def test_a_file_name_is_for_display_only(cast: Cast, alice: Client, settings, name: str, shown: str):
    file = upload(chats())
    file._name = name  # past the cleaning of the test's own upload
    alice.post(URL, {"file": file, "name": "x"})
    version = new_version()
    assert version.file_name == shown
    assert version.path.is_relative_to(settings.DATASETS_DIR)


def test_the_name_comes_from_the_file(alice: Client):
    alice.post(URL, {"file": upload(chats(), "support tickets.jsonl")})
    assert new_version().dataset.name == "support tickets"


def test_a_taken_name_is_refused_and_another_team_may_use_it(cast: Cast, alice: Client, settings):
    assert alice.post(URL, {"file": upload(chats()), "name": "greetings"}).status_code == 409
    assert files_under(settings.DATASETS_DIR) == []
    charlie = Client()
    charlie.force_login(cast.charlie)
    assert charlie.post(URL, {"file": upload(chats()), "name": "greetings"}).status_code == 302


def test_a_file_over_the_limit_is_refused(alice: Client, settings):
    settings.MAX_DATASET_BYTES = 100
    reply = alice.post(URL, {"file": upload(chats())})
    assert reply.status_code == 413
    assert "100 B" in reply.content.decode()
    assert Dataset.objects.count() == 1


def test_no_file_is_said_at_the_field(alice: Client):
    reply = alice.post(URL, {"name": "x"})
    assert reply.status_code == 422
    assert reply.context["form"].errors["file"] == ["Choose a file first."]


def test_a_full_disk_is_said(alice: Client, settings, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webapp.datasets.store.os.fsync", full)
    reply = alice.post(URL, {"file": upload(chats())})
    assert reply.status_code == 507
    assert "disk" in reply.content.decode()
    assert Dataset.objects.count() == 1
    assert files_under(settings.DATASETS_DIR) == []


def test_the_same_bytes_are_stored_once(cast: Cast, alice: Client, settings):
    alice.post(URL, {"file": upload(chats()), "name": "one"})
    alice.post(URL, {"file": upload(chats()), "name": "two"})
    assert Dataset.objects.count() == 3
    assert len(files_under(settings.DATASETS_DIR)) == 3, "the source, its rows and its problems"


def test_a_new_version_keeps_the_old_one(cast: Cast, alice: Client):
    alice.post(URL, {"file": upload(chats(3)), "name": "mine"})
    dataset = Dataset.objects.get(name="mine")
    url = f"/datasets/{dataset.pk}/versions/add/"
    assert alice.post(url, {"file": upload(chats(4))}).status_code == 302
    assert list(dataset.versions.order_by("number").values_list("number", "rows")) == [(1, 3), (2, 4)]
    same = alice.post(url, {"file": upload(chats(3))})
    assert same.status_code == 409
    assert "version 1" in same.content.decode()
    assert alice.post(url, {"file": upload(b"[]")}).status_code == 422
    assert dataset.versions.count() == 2


def test_only_the_owner_adds_versions(cast: Cast, client: Client):
    url = f"/datasets/{cast.version.dataset_id}/versions/add/"
    for user, status in ((cast.bob, 403), (cast.charlie, 404), (cast.ada, 302)):
        client.force_login(user)
        assert client.post(url, {"file": upload(chats())}).status_code == status
    assert cast.version.dataset.versions.count() == 2


def test_an_anonymous_visitor_uploads_nothing(cast: Cast, client: Client):
    assert client.post(URL, {"file": upload(chats())})["Location"].startswith("/sign-in/")
    assert Dataset.objects.count() == 1


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Everything over 300 bytes counts as large; the rings that were sent."""
    rings: list[int] = []
    monkeypatch.setattr(arriving, "CHECKED_AT_ONCE_BYTES", 300)
    monkeypatch.setattr(tasks, "ring_dataset_task", rings.append)
    return rings


def test_a_large_file_is_checked_later(cast: Cast, alice: Client, large: list[int], django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(URL, {"file": upload(chats(100))})
    version = new_version()
    task = version.tasks.get()
    assert (version.state, large, task.kind) == ("checking", [task.pk], "check")
    page = alice.get(f"/datasets/{version.dataset_id}/").content.decode()
    assert "Waiting for its turn" in page
    asks = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "waiting"}
    waiting = alice.get(f"/datasets/{version.dataset_id}/", **asks)
    assert (waiting.status_code, "HX-Refresh" in waiting.headers) == (200, False)
    run_task(task.pk, runners=RUNNERS)
    assert new_version().state == "ready"
    done = alice.get(f"/datasets/{version.dataset_id}/", **asks)
    assert done.headers["HX-Refresh"] == "true"


def test_a_large_file_that_is_no_dataset_says_so_when_it_was_read(
    cast: Cast, alice: Client, large: list[int], django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(URL, {"file": upload(b"<html>" + b" " * 4000)})
    run_task(large[0], runners=RUNNERS)
    version = new_version()
    assert (version.state, version.rows_sha256) == ("problems", "")
    assert "HTML" in alice.get(f"/datasets/{version.dataset_id}/problems/").content.decode()
