"""What is sent wrongly, or is too much: refused by its name, with nothing stored."""

import base64
import hashlib
import os

import pytest

from tests.webapp.datasets.tus.conftest import LIMIT
from tests.webapp.datasets.tus_server import Sender, Server, file_of, row, sha256

MIB = 2**20


@pytest.mark.parametrize("said", [4, 6, 10])
def test_a_wrong_offset_is_refused(sender: Sender, said: int) -> None:
    where = sender.begun(10)
    sender.send(where, b"01234")
    reply = sender.send(where, b"56789", offset=said)
    assert (reply.status_code, sender.offset(where)) == (409, 5)
    assert "5 bytes of this file are here" in reply.json()["error"]["message"]


def test_a_file_with_another_hash_is_thrown_away(server: Server, sender: Sender) -> None:
    where = sender.begun(10, sha256=sha256(b"something else"))
    reply = sender.send(where, b"0123456789")
    assert (reply.status_code, reply.json()["error"]["code"]) == (460, "checksum_mismatch")
    assert sender.http.head(where).status_code == 404
    assert not file_of(server, where).exists()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_piece_with_a_wrong_checksum_is_not_taken(server: Server, sender: Sender, algorithm: str) -> None:
    data = os.urandom(3 * MIB)
    where = sender.begun(len(data))
    sender.send(where, data[:1000])

    def checksum(piece: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, piece).digest()).decode()}"

    wrong = sender.send(where, data[1000:], offset=1000, **{"Upload-Checksum": checksum(b"else")})
    assert (wrong.status_code, sender.offset(where)) == (460, 1000)
    right = sender.send(where, data[1000:], offset=1000, **{"Upload-Checksum": checksum(data[1000:])})
    assert (right.status_code, row(server, where)[4]) == (204, sha256(data))


def test_more_than_was_announced_is_not_taken(server: Server, sender: Sender) -> None:
    where = sender.begun(2 * MIB)
    sender.send(where, b"x" * MIB)
    assert sender.send(where, b"y" * (MIB + 1), offset=MIB).status_code == 413
    assert sender.send(where, iter([b"y" * MIB, b"y"]), offset=MIB).status_code == 413
    assert sender.offset(where) == MIB
    assert sender.send(where, b"x" * MIB, offset=MIB).status_code == 204


def test_a_file_over_the_limit_is_refused_before_its_first_byte(server: Server, alice: Sender) -> None:
    before = server.files
    reply = alice.begin(LIMIT + 1)
    assert (reply.status_code, "40.0 MiB" in reply.json()["error"]["message"]) == (413, True)
    assert server.files == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "1e3"}, 400),
        ({"Upload-Length": "9" * 16}, 400),
        ({"Upload-Defer-Length": "1"}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "filename ###"}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "filename YQ==,filename YQ=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "sha256 YQ=="}, 400),
        ({"Upload-Length": "1", "Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_a_wrong_announcement_is_refused(server: Server, sender: Sender, headers: dict[str, str], status: int) -> None:
    before = server.files
    reply = sender.http.post(sender.door, headers=headers)
    assert (reply.status_code, server.files) == (status, before)
    assert reply.json()["error"]["message"]
    assert reply.headers["tus-resumable"] == "1.0.0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Offset": "x"}, 400),
        ({"Upload-Offset": "-5"}, 400),
        ({"Upload-Checksum": "md5 YQ=="}, 400),
        ({"Upload-Checksum": "sha256 YQ=="}, 400),
        ({"Upload-Checksum": "sha256 ###"}, 400),
        ({"Tus-Resumable": "2.0.0"}, 412),
    ],
)
def test_a_wrong_piece_is_refused(sender: Sender, headers: dict[str, str], status: int) -> None:
    where = sender.begun(5)
    assert sender.send(where, b"01234", **headers).status_code == status
    assert sender.offset(where) == 0


def test_other_methods_and_addresses(sender: Sender) -> None:
    where = sender.begun(5)
    assert sender.http.put(where, content=b"01234").status_code == 405
    assert "PATCH" in sender.http.get(where).headers["allow"]
    assert sender.http.delete(sender.door).status_code == 405
    assert sender.http.patch(sender.door, content=b"x").status_code == 405
    assert sender.send(f"{sender.door}not-a-number/", b"01234").status_code == 404
    assert sender.http.post(where, content=b"x" * (MIB + MIB)).status_code == 413


def test_many_unused_uploads_are_too_many(server: Server) -> None:
    bob = server.sender("bob")
    server.python(
        "from webapp.accounts.models import User\nfrom webapp.datasets.models import Upload\n"
        "bob = User.objects.get(name='Bob')\nUpload.objects.bulk_create(Upload(owner=bob, name='x', size_bytes=1) for _ in range(200))"
    )
    assert bob.begin(1).status_code == 429
    assert server.sender("alice").begin(1).status_code == 201
