"""Bodies that are too large are refused while they arrive, not after they have filled the disk."""

from typing import Any

import pytest

from webapp.bodies import STRANGERS_BYTES, limiting_bodies

SESSION = (b"cookie", b"nibble_session=x")
CHUNK = 2**20


class Visitor:
    """Sends `chunks` of a MiB and keeps what comes back."""

    def __init__(self, *headers: tuple[bytes, bytes], chunks: int, path: str = "/datasets/upload/") -> None:
        self.scope = {"type": "http", "path": path, "headers": list(headers)}
        self.left = chunks
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        self.left -= 1
        return {"type": "http.request", "body": b"x" * CHUNK, "more_body": self.left > 0}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


async def reading_all(scope: Any, receive: Any, send: Any) -> None:
    """As Django does: the whole body first."""
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def visit(visitor: Visitor) -> Visitor:
    await limiting_bodies(reading_all)(visitor.scope, visitor.receive, visitor.send)
    return visitor


@pytest.fixture(autouse=True)
def ten_mebibytes(settings: Any) -> None:
    settings.MAX_DATASET_BYTES = 10 * CHUNK


@pytest.mark.parametrize("header", [SESSION, (b"authorization", b"Bearer nbw_x")])
async def test_it_works(header: tuple[bytes, bytes]):
    assert (await visit(Visitor(header, chunks=11))).status == 200


async def test_what_announces_too_much_is_not_read_at_all():
    visitor = await visit(Visitor(SESSION, (b"content-length", b"12000000000"), chunks=20))
    assert (visitor.status, visitor.left) == (413, 20)
    assert b"Nothing was stored" in visitor.sent[1]["body"]


@pytest.mark.parametrize("length", [b"5", b"x", b"-1"])
async def test_what_lies_about_its_length_is_cut_off(length: bytes):
    visitor = await visit(Visitor(SESSION, (b"content-length", length), chunks=1000))
    assert (visitor.status, visitor.left) == (413, 1000 - 12)


async def test_a_stranger_may_send_a_form_only():
    assert STRANGERS_BYTES == CHUNK
    assert (await visit(Visitor(chunks=1))).status == 200
    assert (await visit(Visitor(chunks=2))).status == 413
    assert (await visit(Visitor((b"cookie", b"other=1"), chunks=2))).status == 413


async def test_a_worker_may_send_an_adapter_larger_than_any_dataset():
    visitor = Visitor((b"authorization", b"Bearer nbw_x"), chunks=30, path="/worker/v1/attempts/1/files/a")
    assert (await visit(visitor)).status == 200


async def test_sockets_pass():
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await limiting_bodies(app)({"type": "websocket"}, Visitor(chunks=1).receive, Visitor(chunks=1).send)
    assert seen == ["websocket"]
