"""Nobody goes on with another's file, and no other site sends any."""

import pytest

from tests.webapp.datasets.tus_server import Sender, Server


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
