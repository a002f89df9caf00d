"""Uploads through the API: stored, checked, refused with the reason, and never seen by another team."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.datasets.models import Dataset, DatasetVersion

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}


def jsonl(rows: int = 3, *, name: str = "hello.jsonl", text: bytes = b"") -> BytesIO:
    file = BytesIO(text or b"".join(json.dumps({**ROW, "id": n}).encode() + b"\n" for n in range(rows)))
    file.name = name
    return file


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def test_an_upload_is_stored_and_checked(alice: Client) -> None:
    response = alice.post("/api/v1/datasets", {"name": "hello", "file": jsonl()})
    assert response.status_code == 201, response.content
    version = response.json()["versions"][0]
    assert (version["state"], version["format"], version["rows"], version["number"]) == ("ready", "messages", 3, 1)
    assert DatasetVersion.objects.get(pk=version["id"]).path.read_bytes() == jsonl().read()


def test_without_a_name_it_is_called_as_its_file(alice: Client) -> None:
    assert alice.post("/api/v1/datasets", {"file": jsonl()}).json()["name"] == "hello"


def test_a_second_version_stands_beside_the_first(alice: Client) -> None:
    made = alice.post("/api/v1/datasets", {"file": jsonl()}).json()
    added = alice.post(f"/api/v1/datasets/{made['id']}/versions", {"file": jsonl(4)}).json()
    assert [version["rows"] for version in added["versions"]] == [4, 3]
    same = alice.post(f"/api/v1/datasets/{made['id']}/versions", {"file": jsonl(4)})
    assert (same.status_code, same.json()["error"]["param"]) == (409, "file")


@pytest.mark.parametrize("text", [b"<html>", b'[{"text": "an array"}\n', b"\xff\xfe\n", b" "])
def test_what_cannot_be_used_is_not_kept(alice: Client, text: bytes, own_data_folder: Path) -> None:
    before = Dataset.objects.count()
    response = alice.post("/api/v1/datasets", {"name": "bad", "file": jsonl(text=text)})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "file")
    assert Dataset.objects.count() == before


def test_a_taken_name_is_refused(alice: Client) -> None:
    response = alice.post("/api/v1/datasets", {"name": "greetings", "file": jsonl()})
    assert (response.status_code, response.json()["error"]["param"]) == (409, "name")


def test_a_missing_file_is_named(alice: Client) -> None:
    response = alice.post("/api/v1/datasets", {"name": "nothing"})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "file")


def test_strangers_and_other_teams(cast: Cast, client: Client) -> None:
    address = f"/api/v1/datasets/{cast.version.dataset_id}"
    assert client.get(address).status_code == 401
    assert client.post("/api/v1/datasets", {"file": jsonl()}).status_code == 401
    client.force_login(cast.charlie)
    assert client.get(address).status_code == 404
    assert client.post(f"{address}/versions", {"file": jsonl()}).status_code == 404
    client.force_login(cast.bob)
    assert client.get(address).status_code == 200
    assert client.post(f"{address}/versions", {"file": jsonl()}).status_code == 403
