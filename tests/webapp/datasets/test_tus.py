"""Files sent in pieces to a real server: whole, broken off, resumed, by two at once, by somebody else, wrong, too large."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from tests.waiting import wait_until
from tests.webapp.datasets.tus_server import PIECE, Sender, Server, serving, sha256

MIB = 2**20
LIMIT = 40 * MIB
STORY = "from webapp.datasets.models import Upload\nimport json\nu = Upload.objects.get(pk=%r)\n"
STORY += "print(json.dumps([u.name, u.size_bytes, u.offset_bytes, u.sha256, u.found_sha256, u.owner.name]))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tus"), NIBBLE_MAX_DATASET_BYTES=str(LIMIT)) as running:
        yield running


@pytest.fixture(params=["/datasets/uploads/", "/api/v1/uploads"])
def alice(server: Server, request: pytest.FixtureRequest) -> Sender:
    return server.sender("alice", door=request.param)


@pytest.fixture
def sender(server: Server) -> Sender:
    return server.sender("alice")


def row(server: Server, where: str) -> list[object]:
    return list(json.loads(server.python(STORY % identifier(where))))


def identifier(where: str) -> str:
    return where.rstrip("/").rpartition("/")[2]


def file_of(server: Server, where: str) -> Path:
    return server.data / "datasets" / "uploads" / identifier(where)


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


def test_a_broken_line_leaves_what_arrived_and_the_rest_follows(server: Server, sender: Sender) -> None:
    data = os.urandom(8 * MIB)
    where = sender.begun(len(data), sha256=sha256(data))
    line = sender.half_sent(where, data[: 3 * MIB], of=len(data))
    sender.wait_for(where, 2 * MIB)
    line.close()
    came = wait_until(lambda: row(server, where)[2], what="the break to be noticed", seconds=20)
    assert came == sender.offset(where)
    assert 2 * MIB <= came <= 3 * MIB
    assert sender.send(where, data[came:], offset=came).status_code == 204
    assert file_of(server, where).read_bytes() == data


def test_a_killed_server_goes_on_from_the_bytes_that_were_written(server: Server, sender: Sender) -> None:
    data = os.urandom(6 * MIB)
    where = sender.begun(len(data), sha256=sha256(data))
    with closing(sender.half_sent(where, data[: 4 * MIB], of=len(data))):
        sender.wait_for(where, 3 * MIB)
        server.web.kill()
    server.web.start()
    came = sender.offset(where)
    assert came >= 3 * MIB
    assert sender.send(where, data[came:], offset=came).status_code == 204
    assert row(server, where)[4] == sha256(data)  # of bytes that this process never received


def test_two_at_once_and_one_is_taken(server: Server, sender: Sender) -> None:
    data = os.urandom(4 * MIB)
    where = sender.begun(len(data))
    with closing(sender.half_sent(where, data[: 2 * MIB], of=len(data))):
        sender.wait_for(where, MIB)
        other = server.sender("alice")
        reply = other.send(where, b"x" * 100, offset=other.offset(where))
        assert (reply.status_code, reply.json()["error"]["code"]) == (423, "locked")
        assert other.http.delete(where).status_code == 423
    came = wait_until(lambda: row(server, where)[2], what="the break to be noticed", seconds=20)
    assert isinstance(came, int)
    assert sender.when_free(where, data[came:], offset=came).status_code == 204
    assert file_of(server, where).read_bytes() == data


@pytest.mark.parametrize("name", ["bob", "charlie", "ada"])
def test_nobody_else_goes_on_with_it(server: Server, sender: Sender, name: str) -> None:
    where, other = sender.begun(10), server.sender(name)
    assert other.http.head(where).status_code == 404
    assert other.send(where, b"0123456789").status_code == 404
    assert other.http.delete(where).status_code == 404
    assert sender.offset(where) == 0


def test_strangers_are_refused_before_their_bytes_are_read(server: Server, alice: Sender) -> None:
    stranger, where = server.sender("", door=alice.door), alice.begun(10)
    for reply in (
        stranger.begin(10),
        stranger.send(where, b"0123456789"),
        stranger.http.delete(where),
        stranger.http.options(where),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "not_signed_in")
    assert stranger.http.head(where).status_code == 401
    assert alice.offset(where) == 0


def test_another_site_sends_nothing(alice: Sender) -> None:
    where = alice.begun(10)
    for headers in ({"X-CSRFToken": "f" * 32}, {"Origin": "https://evil.example.org"}):
        reply = alice.send(where, b"0123456789", **headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "csrf")
        assert alice.http.post(alice.door, headers={"Upload-Length": "10", **headers}).status_code == 403
    assert alice.offset(where) == 0


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


def test_a_piece_with_a_checksum_is_taken_whole_or_not_at_all(server: Server, sender: Sender) -> None:
    where = sender.begun(4 * MIB)
    data = os.urandom(4 * MIB)
    checksum = f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"
    head = f"\r\nUpload-Checksum: {checksum}"
    line = sender.half_sent(where + " HTTP/1.1" + head + "\r\nX-Rest:", data[: 2 * MIB], of=len(data))
    sender.wait_for(where, MIB)
    line.close()
    wait_until(lambda: sender.offset(where) == 0, what="the piece to be given up", seconds=20)


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


def test_a_method_may_be_named_in_a_header(sender: Sender) -> None:
    where = sender.begun(5)
    headers = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": PIECE}
    assert sender.http.post(where, content=b"01234", headers=headers).headers["upload-offset"] == "5"


def test_a_long_refused_body_does_not_have_to_be_sent_to_its_end(sender: Sender) -> None:
    where = sender.begun(30 * MIB)
    line = sender.half_sent(where, b"", of=30 * MIB, offset=7)
    with closing(line):
        line.settimeout(20)
        assert b" 409 " in line.recv(200)  # nothing more was sent


def test_many_unused_uploads_are_too_many(server: Server) -> None:
    bob = server.sender("bob")
    server.python(
        "from webapp.accounts.models import User\nfrom webapp.datasets.models import Upload\n"
        "bob = User.objects.get(name='Bob')\nUpload.objects.bulk_create(Upload(owner=bob, name='x', size_bytes=1) for _ in range(200))"
    )
    assert bob.begin(1).status_code == 429
    assert server.sender("alice").begin(1).status_code == 201


def test_more_than_eight_pieces_of_one_user_wait(server: Server, sender: Sender) -> None:
    places = [sender.begun(2 * MIB) for _ in range(9)]
    with ExitStack() as lines:
        for where in places[:8]:
            lines.enter_context(closing(sender.half_sent(where, b"x" * MIB, of=2 * MIB)))
            sender.wait_for(where, MIB // 2)
        reply = sender.send(places[8], b"x")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "busy")
    wait_until(lambda: sender.send(places[8], b"x").status_code == 204, what="a place", seconds=20)


def test_pages_are_served_while_bytes_arrive(server: Server, sender: Sender) -> None:
    where = sender.begun(4 * MIB)
    with closing(sender.half_sent(where, b"x" * MIB, of=4 * MIB)):
        sender.wait_for(where, MIB // 2)
        assert httpx.get(f"{server.url}/healthz", timeout=5).text == "ok\n"
        assert sender.http.get("/datasets/").status_code == 200
