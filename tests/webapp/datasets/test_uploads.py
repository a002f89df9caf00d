"""What becomes of files that were sent in pieces: datasets, another try, nothing; on a full disk; after their time."""

import asyncio
import errno
import os
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.test import Client
from django.utils import timezone

from tests.cast import Cast, meet_the_cast
from tests.webapp.datasets.files import chats, upload
from tests.webapp.datasets.tus_server import PIECE, TOKEN, sha256
from webapp.datasets import receiving, upload_file
from webapp.datasets.errors import (
    NoRoom,
    UnknownUpload,
    UploadBusy,
    UploadExpired,
    UploadUnfinished,
    WrongFile,
)
from webapp.datasets.models import Dataset, Upload
from webapp.datasets.receiving import receiving_uploads
from webapp.datasets.upload_file import KeptHashes, UploadFile
from webapp.datasets.uploads import (
    begin_upload,
    discard,
    drop_expired,
    finished,
    opened,
    store_progress,
    upload_of,
    uploads_of,
    using,
)
from webapp.upkeep.leftovers import broken_off
from webapp.upkeep.selectors import upkeep_policy

pytestmark = pytest.mark.postgres
MIB = 2**20


def sent(owner: Any, data: bytes, *, name: str = "chats.jsonl", of: int | None = None, announced: str = "") -> Upload:
    """Begun, and `data` of it is here."""
    made = begin_upload(owner=owner, name=name, size_bytes=len(data) if of is None else of, sha256=announced)
    with opened(made) as file:
        file.append(data)
        store_progress(made, file)
    return made


def age(made: Upload, *, hours: float) -> None:
    then = timezone.now() - timedelta(hours=hours)
    Upload.objects.filter(pk=made.pk).update(touched_at=then)
    os.utime(made.path, (then.timestamp(), then.timestamp()))


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def test_a_whole_file_is_handed_on(cast: Cast) -> None:
    made = sent(cast.alice, b"0123456789")
    with finished(str(made.pk), cast.alice) as file:
        assert (file.path, file.name, file.sha256) == (made.path, "chats.jsonl", sha256(b"0123456789"))


def test_what_is_not_whole_or_not_ones_own_is_not(cast: Cast) -> None:
    half = sent(cast.alice, b"01234", of=10)
    with pytest.raises(UploadUnfinished, match="has not arrived completely"), finished(half.pk, cast.alice):
        pass
    for upload_id, user in ((half.pk, cast.bob), (half.pk, cast.ada), (uuid.uuid4(), cast.alice), ("../etc", cast.alice)):
        with pytest.raises(UnknownUpload), finished(upload_id, user):
            pass


def test_a_process_that_died_after_the_last_byte_is_made_up_for(cast: Cast) -> None:
    made = begin_upload(owner=cast.alice, name="a", size_bytes=5)
    made.path.write_bytes(b"01234")
    with finished(made.pk, cast.alice) as file:
        assert file.sha256 == sha256(b"01234")
    wrong = begin_upload(owner=cast.alice, name="a", size_bytes=5, sha256=sha256(b"else"))
    wrong.path.write_bytes(b"01234")
    with pytest.raises(WrongFile), finished(wrong.pk, cast.alice):
        pass
    assert not wrong.path.exists()


def test_a_hash_is_the_same_whoever_received_the_bytes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(5 * MIB)
    made = sent(cast.alice, data[:MIB], of=len(data))
    for start in range(MIB, len(data), MIB):
        if start % (2 * MIB):
            monkeypatch.setattr(upload_file, "kept_hashes", KeptHashes())  # another process, which knows nothing
        with opened(made) as file:
            file.append(data[start : start + MIB])
            store_progress(made, file)
    assert made.found_sha256 == sha256(data)


def test_one_sender_at_a_time(cast: Cast) -> None:
    made = begin_upload(owner=cast.alice, name="a", size_bytes=5)
    with opened(made), pytest.raises(UploadBusy):
        UploadFile(made.path, size=5)
    with opened(made) as file:
        file.append(b"01234")


def test_a_file_is_used_by_one_at_a_time(cast: Cast) -> None:
    """As after two clicks: the second waits for no lock and finds no file that vanishes under it."""
    made = sent(cast.alice, chats(3))
    with using([made.pk], cast.alice) as (file,):
        with pytest.raises(UploadBusy), using([made.pk], cast.alice):
            pass
        with pytest.raises(UploadBusy):
            discard(made)
        age(made, hours=1000)
        drop_expired(made)
        assert file.path.exists()
    with pytest.raises(UnknownUpload), using([made.pk], cast.alice):
        pass


def test_a_piece_that_is_taken_back_at_the_end_is_not_used(cast: Cast) -> None:
    made = begin_upload(owner=cast.alice, name="a", size_bytes=5)
    file = UploadFile(made.path, size=5, checksum=("sha256", b"wrong"))
    file.append(b"01234")
    with pytest.raises(UploadBusy), finished(made.pk, cast.alice):
        pass
    file.close()
    with pytest.raises(UploadUnfinished), finished(made.pk, cast.alice):
        pass


def test_a_disk_that_fills_up_keeps_what_arrived(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    made = begin_upload(owner=cast.alice, name="a", size_bytes=10)
    write = os.write

    def short(descriptor: int, data: Any) -> int:
        """As a disk does that has room for three bytes more."""
        if os.fstat(descriptor).st_size >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:3])

    with opened(made) as file, monkeypatch.context() as full:
        full.setattr(upload_file.os, "write", short)
        with pytest.raises(NoRoom):
            file.append(b"0123456789")
        assert file.offset == 3
    with opened(made) as file:
        file.append(b"3456789")
        store_progress(made, file)
    assert made.found_sha256 == sha256(b"0123456789")


def test_a_disk_without_room_takes_no_announcement(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.datasets.uploads.room_for", lambda size: False)
    reply = alice.post("/datasets/uploads/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "10"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
    assert Upload.objects.count() == 0


def test_what_nobody_goes_on_with_expires(cast: Cast, settings: Any) -> None:
    settings.UPLOAD_HOURS = 2
    old, young = sent(cast.alice, b"01", of=10), sent(cast.alice, b"01", of=10)
    age(old, hours=3)
    with pytest.raises(UploadExpired):
        upload_of(cast.alice, old.pk)
    assert [each.pk for each in uploads_of(cast.alice)] == [young.pk]
    assert [(each.name, each.size_bytes) for each in broken_off(upkeep_policy())] == [("chats.jsonl", 2)]


def test_housekeeping_removes_the_expired_and_the_unknown(cast: Cast, settings: Any) -> None:
    settings.UPLOAD_HOURS = 2
    old, busy, lost = sent(cast.alice, b"01", of=10), sent(cast.bob, b"01", of=10), sent(cast.bob, b"01", of=10)
    for made in (old, busy, lost):
        age(made, hours=100)
    path = lost.path
    lost.delete()
    with opened(busy):
        for thing in list(broken_off(upkeep_policy())):
            thing.delete()
    assert [each.pk for each in Upload.objects.all()] == [busy.pk]
    assert (old.path.exists(), busy.path.exists(), path.exists()) == (False, True, False)


def test_an_expired_upload_answers_gone(cast: Cast, alice: Client, settings: Any) -> None:
    settings.UPLOAD_HOURS = 2
    made = sent(cast.alice, b"01", of=10)
    age(made, hours=3)
    assert alice.head(f"/datasets/uploads/{made.pk}/", headers={"Tus-Resumable": "1.0.0"}).status_code == 410


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


class InProcess:
    """The ASGI wrapper around Django, in this process: so that a test can reach into it."""

    def __init__(self, settings: Any) -> None:
        self.cast = meet_the_cast()
        client = Client()
        client.force_login(self.cast.alice)
        self.upload = begin_upload(owner=self.cast.alice, name="a", size_bytes=10)
        cookies = {"nibble_session": client.cookies[settings.SESSION_COOKIE_NAME].value, "nibble_csrf": TOKEN}
        self.headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "X-CSRFToken": TOKEN}
        self.headers |= {"Tus-Resumable": "1.0.0", "Content-Type": PIECE, "Upload-Offset": "0"}

    async def send(self, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
        transport = httpx.ASGITransport(app=receiving_uploads(get_asgi_application()))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.patch(f"/datasets/uploads/{self.upload.pk}/", content=body, headers=self.headers)


@pytest.fixture
def inside(transactional_db: None, settings: Any) -> InProcess:
    return InProcess(settings)


async def test_a_full_disk_answers_507_and_the_rest_may_follow(inside: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(upload_file, "room_for", lambda size: False)
        reply = await inside.send(b"0123456789")
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
    assert (await inside.send(b"0123456789")).status_code == 204


async def test_a_sender_who_falls_silent_lets_go_of_the_file(inside: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "SILENCE_SECONDS", 0.2)

    async def body() -> AsyncIterator[bytes]:
        yield b"01234"
        await asyncio.Event().wait()

    assert (await inside.send(body())).status_code == 408
    assert inside.upload.path.read_bytes() == b"01234"
    UploadFile(inside.upload.path, size=10).close()


async def test_a_cancelled_request_lets_go_of_the_file(inside: InProcess) -> None:
    """As a server does that is told to end."""
    came = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"01234"
        came.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(inside.send(body()))
    await came.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    UploadFile(inside.upload.path, size=10).close()


def test_a_server_without_streaming_says_so(cast: Cast, alice: Client) -> None:
    made = begin_upload(owner=cast.alice, name="a", size_bytes=5)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    reply = alice.patch(f"/datasets/uploads/{made.pk}/", b"01234", content_type=PIECE, headers=headers)
    assert (reply.status_code, "ASGI" in reply.json()["error"]["message"]) == (400, True)
    UploadFile(made.path, size=5).close()


def test_files_are_private(cast: Cast) -> None:
    path: Path = sent(cast.alice, b"0").path
    assert path.stat().st_mode & 0o077 == 0
