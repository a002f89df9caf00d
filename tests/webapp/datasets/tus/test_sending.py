"""Files sent in pieces to a real server: whole, empty, oddly named, discarded, with everything that tus 1.0 offers."""

import base64
import os
from email.utils import parsedate_to_datetime

import pytest

from tests.webapp.datasets.tus.conftest import LIMIT
from tests.webapp.datasets.tus_server import PIECE, Sender, Server, file_of, row, sha256

MIB = 2**20


def test_what_the_server_can(alice: Sender) -> None:
    reply = alice.http.options(alice.door)
    assert reply.status_code == 204
    assert reply.headers["tus-version"] == "1.0.0"
    assert reply.headers["tus-extension"] == "creation,termination,checksum,expiration"
    assert reply.headers["tus-max-size"] == str(LIMIT)
    assert reply.headers["tus-checksum-algorithm"] == "sha1,sha256"


def test_a_file_in_three_pieces(server: Server, alice: Sender) -> None:
    data = os.urandom(3 * MIB + 17)
    where = alice.begun(len(data), sha256=sha256(data))
    assert where.startswith(alice.door)
    assert where.endswith("/") == alice.door.endswith("/")
    assert alice.offset(where) == 0
    for start, end in ((0, 1), (1, 2 * MIB), (2 * MIB, len(data))):
        reply = alice.send(where, data[start:end], offset=start)
        assert (reply.status_code, reply.headers["upload-offset"]) == (204, str(end))
        assert parsedate_to_datetime(reply.headers["upload-expires"]).tzinfo
    assert row(server, where) == ["chats.jsonl", len(data), len(data), sha256(data), sha256(data), "Alice"]
    assert file_of(server, where).read_bytes() == data


def test_what_head_tells(alice: Sender) -> None:
    where = alice.begun(10, name="größe.jsonl")
    reply = alice.http.head(where)
    assert (reply.headers["upload-length"], reply.headers["upload-offset"]) == ("10", "0")
    assert reply.headers["upload-metadata"] == f"filename {base64.b64encode('größe.jsonl'.encode()).decode()}"
    assert reply.headers["cache-control"] == "no-store"


def test_a_body_of_unknown_length_is_taken_too(server: Server, sender: Sender) -> None:
    data = os.urandom(5 * MIB)
    where = sender.begun(len(data))
    assert sender.send(where, iter([data[:MIB], data[MIB:]])).headers["upload-offset"] == str(len(data))
    assert row(server, where)[4] == sha256(data)


def test_a_file_without_a_byte_is_whole_at_once(server: Server, sender: Sender) -> None:
    where = sender.begun(0)
    assert sender.offset(where) == 0
    assert row(server, where)[4] == sha256(b"")
    assert sender.send(where, b"").status_code == 204


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\data\\chats.jsonl", "chats.jsonl"),
        ("two\nlines\x00.jsonl", "two lines .jsonl"),
        ("a" * 300 + ".jsonl", "a" * 255),
        ("evil\u202elnosj.jsonl", "evil lnosj.jsonl"),
        ("<script>alert(1)</script>", "script>"),
        (b"\xff\xfe.jsonl", "\ufffd\ufffd.jsonl"),
        ("..", ".."),
        ("", "unnamed"),
    ],
)
def test_an_odd_name_is_for_display_only(server: Server, sender: Sender, name: str | bytes, shown: str) -> None:
    where = sender.begun(1, name=name)
    assert row(server, where)[0] == shown
    assert file_of(server, where) in server.files


def test_a_discarded_upload_is_gone(server: Server, alice: Sender) -> None:
    where = alice.begun(10)
    assert alice.http.delete(where).status_code == 204
    assert alice.http.head(where).status_code == 404
    assert alice.send(where, b"0123456789").status_code == 404
    assert not file_of(server, where).exists()


def test_a_method_may_be_named_in_a_header(sender: Sender) -> None:
    where = sender.begun(5)
    headers = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": PIECE}
    assert sender.http.post(where, content=b"01234", headers=headers).headers["upload-offset"] == "5"
