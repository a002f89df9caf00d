"""Files that were sent in pieces become datasets and versions, by the form and by the API; what is left over is listed."""

import uuid

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import chats, upload
from tests.webapp.datasets.pieces import sent
from webapp.datasets.models import Dataset, Upload

pytestmark = pytest.mark.postgres


def test_several_files_become_one_dataset(cast: Cast, alice: Client) -> None:
    first, second = sent(cast.alice, chats(3), name="a.jsonl"), sent(cast.alice, chats(5), name="b.jsonl")
    reply = alice.post("/datasets/upload/", {"uploads": [str(second.pk), str(first.pk)], "name": ""})
    assert reply.status_code == 302, reply.content.decode()
    dataset = Dataset.objects.get(name="b")
    version = dataset.versions.get()
    assert [(file.name, file.path.read_bytes()) for file in version.files.all()] == [("b.jsonl", chats(5)), ("a.jsonl", chats(3))]
    assert (version.rows, Upload.objects.count(), first.path.exists()) == (8, 0, False)


def test_the_plain_form_takes_several_files_too(alice: Client) -> None:
    reply = alice.post("/datasets/upload/", {"file": [upload(chats(3), "a.jsonl"), upload(chats(4), "b.jsonl.gz")], "name": "two"})
    assert reply.status_code in (302, 422)  # whether a file is what its name says is another test's question
    if reply.status_code == 302:
        assert Dataset.objects.get(name="two").versions.get().files.count() == 2


def test_a_version_is_added_from_an_upload(cast: Cast, alice: Client) -> None:
    made = sent(cast.alice, chats(3))
    url = f"/datasets/{cast.version.dataset_id}/versions/add/"
    assert alice.post(url, {"uploads": str(made.pk)}).status_code == 302
    assert cast.version.dataset.versions.count() == 2
    again = sent(cast.alice, chats(3))
    reply = alice.post(url, {"uploads": str(again.pk)})
    assert reply.status_code == 409
    assert "checked> Use it" in reply.content.decode()


def test_a_taken_name_keeps_the_upload_and_a_useless_file_does_not(cast: Cast, alice: Client) -> None:
    good, bad = sent(cast.alice, chats(3)), sent(cast.alice, b"\x00\x01\x02")
    taken = alice.post("/datasets/upload/", {"uploads": str(good.pk), "name": "greetings"})
    assert (taken.status_code, good.path.exists()) == (409, True)
    assert f'value="{good.pk}" checked' in taken.content.decode()
    refused = alice.post("/datasets/upload/", {"uploads": str(bad.pk)})
    assert (refused.status_code, bad.path.exists()) == (422, False)
    assert [each.pk for each in Upload.objects.all()] == [good.pk]


def test_the_form_says_what_is_wrong_with_an_upload(cast: Cast, alice: Client) -> None:
    half, bobs = sent(cast.alice, b"01", of=10), sent(cast.bob, chats(3))
    for uploads, status, said in (
        (str(half.pk), 409, "has not arrived completely"),
        (str(bobs.pk), 404, "no such upload"),
        ("nonsense", 422, "not the number of an upload"),
        ("", 422, "Choose a file first"),
    ):
        reply = alice.post("/datasets/upload/", {"uploads": uploads, "name": "x"})
        assert (reply.status_code, said in reply.content.decode()) == (status, True), uploads
    assert bobs.path.exists()
    many = alice.post("/datasets/upload/", {"uploads": [str(uuid.uuid4()) for _ in range(101)], "name": "x"})
    assert (many.status_code, "up to 100 files" in many.content.decode()) == (422, True)


def test_the_api_takes_uploads_by_their_number(cast: Cast, alice: Client) -> None:
    made = sent(cast.alice, chats(3), name="api.jsonl")
    reply = alice.post("/api/v1/datasets", {"uploads": str(made.pk)})
    assert (reply.status_code, reply.json()["name"]) == (201, "api")
    again = alice.post("/api/v1/datasets", {"uploads": str(made.pk), "name": "again"})
    assert (again.status_code, again.json()["error"]["param"]) == (404, "uploads")
    more = sent(cast.alice, chats(4))
    assert alice.post(f"/api/v1/datasets/{reply.json()['id']}/versions", {"uploads": str(more.pk)}).status_code == 201


def test_the_list_shows_what_is_left_and_only_to_its_sender(cast: Cast, alice: Client, client: Client) -> None:
    sent(cast.alice, b"01", of=10, name="<script>x.jsonl")
    sent(cast.alice, b"0123", name="whole.jsonl")
    page = alice.get("/datasets/").content.decode()
    assert "&lt;script&gt;x.jsonl" in page
    assert "2 B of 10 B arrived" in page
    assert page.count("Use it") == 1
    client.force_login(cast.bob)
    assert "whole.jsonl" not in client.get("/datasets/").content.decode()
