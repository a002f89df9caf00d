"""The bytes of a piece on their way through the server: a full disk, a silent sender, a request that is cut off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.test import Client

from tests.cast import Cast, meet_the_cast
from tests.webapp.datasets.tus_server import PIECE, TOKEN
from webapp.datasets import receiving, upload_file
from webapp.datasets.receiving import receiving_uploads
from webapp.datasets.upload_file import UploadFile
from webapp.datasets.uploads import begin_upload

pytestmark = pytest.mark.postgres


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
