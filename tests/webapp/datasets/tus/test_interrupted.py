"""Lines that break, a server that is killed, two senders of one file, many of one user: what arrived stays, one at a time."""

import base64
import hashlib
import os
from contextlib import ExitStack, closing

import httpx

from tests.waiting import wait_until
from tests.webapp.datasets.tus_server import Sender, Server, file_of, row, sha256

MIB = 2**20


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


def test_a_piece_with_a_checksum_is_taken_whole_or_not_at_all(server: Server, sender: Sender) -> None:
    where = sender.begun(4 * MIB)
    data = os.urandom(4 * MIB)
    checksum = f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"
    head = f"\r\nUpload-Checksum: {checksum}"
    line = sender.half_sent(where + " HTTP/1.1" + head + "\r\nX-Rest:", data[: 2 * MIB], of=len(data))
    sender.wait_for(where, MIB)
    line.close()
    wait_until(lambda: sender.offset(where) == 0, what="the piece to be given up", seconds=20)


def test_a_long_refused_body_does_not_have_to_be_sent_to_its_end(sender: Sender) -> None:
    where = sender.begun(30 * MIB)
    line = sender.half_sent(where, b"", of=30 * MIB, offset=7)
    with closing(line):
        line.settimeout(20)
        assert b" 409 " in line.recv(200)  # nothing more was sent


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
