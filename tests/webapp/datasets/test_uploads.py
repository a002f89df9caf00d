"""Files that were sent in pieces: whole or not, hashed, one at a time, on a full disk, after their time."""

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import chats
from tests.webapp.datasets.pieces import age, sent
from tests.webapp.datasets.tus_server import sha256
from webapp.datasets import upload_file
from webapp.datasets.errors import NoRoom, UnknownUpload, UploadBusy, UploadExpired, UploadUnfinished, WrongFile
from webapp.datasets.models import Upload
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


def test_files_are_private(cast: Cast) -> None:
    path: Path = sent(cast.alice, b"0").path
    assert path.stat().st_mode & 0o077 == 0
