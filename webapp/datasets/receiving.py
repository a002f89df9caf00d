"""Lets the bytes of an upload run from the network into its file: once written, half a MiB at a time, whatever the size.

Django stores a whole body before it asks a view. So the view is asked first, without the body: session, CSRF, owner, offset and
lock are looked at as for any request, and a view that agrees hands the open file over to the ASGI wrapper, which takes the body.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

from webapp.datasets import tus
from webapp.datasets.errors import BadUploadRequest, DatasetRefusal, PastTheEnd
from webapp.datasets.models import Upload
from webapp.datasets.upload_file import UploadFile
from webapp.datasets.uploads import store_progress

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DOORS = ("/datasets/uploads/", "/api/v1/uploads/")
PATCH = "nibble.patch"
BATCH_BYTES = 2**19  # two of them wait at most: one is filled while the other is written
AT_ONCE = 8  # pieces of one user on their way to this process; each takes some 2 MB
SILENCE_SECONDS = 60.0  # a sender that says nothing for so long has gone, and somebody else may go on
DRAINED_BYTES = 4 * 2**20
DRAINING_SECONDS = 5.0
OVERRIDDEN = (b"PATCH", b"DELETE", b"HEAD")


@dataclass
class Patch:
    upload: Upload
    file: UploadFile


_on_their_way: Counter[int] = Counter()  # by user


class BrokenOff(Exception):
    """The sender went away, or fell silent, in the middle."""


def hand_over(request: HttpRequest, upload: Upload, file: UploadFile) -> HttpResponse:
    """The view's last word; what the sender reads is said when the body has come."""
    waiting = getattr(request, "scope", {}).get(PATCH)
    if waiting is None:
        file.close()
        raise BadUploadRequest("This server does not stream bodies. Start it with an ASGI server: uvicorn webapp.asgi:application.")
    waiting.append(Patch(upload, file))
    return HttpResponse(status=204)


def receiving_uploads(app: App) -> App:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(DOORS):
            scope = _as_meant(scope)
            if scope["method"] == "PATCH":
                await _take(app, scope, receive, send)
                return
        await app(scope, receive, send)

    return wrapped


def _as_meant(scope: Scope) -> Scope:
    """For senders behind a proxy that knows GET and POST only (X-HTTP-Method-Override, a part of tus)."""
    meant = dict(scope["headers"]).get(b"x-http-method-override", b"").upper()
    return {**scope, "method": meant.decode()} if scope["method"] == "POST" and meant in OVERRIDDEN else scope


class Body:
    """The body of a request, in batches."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self.announced = int(length) if length.isdigit() else 0
        self._receive, self._has_ended, self._is_broken = receive, False, False
        self._waits_for_a_word = b"expect" in headers  # the sender asks first; what is refused never sets out

    async def batches(self) -> AsyncIterator[bytearray]:
        """Raises BrokenOff after the last bytes that came."""
        batch = bytearray()
        try:
            while not self._has_ended:
                async with asyncio.timeout(SILENCE_SECONDS):  # not around the yield: writing may take its time
                    batch += await self._next()
                if len(batch) >= BATCH_BYTES:
                    yield batch
                    batch = bytearray()
        except (TimeoutError, BrokenOff):
            self._is_broken = True
            yield batch
            raise BrokenOff from None
        yield batch

    async def is_drained(self) -> bool:
        """A refusal is read for certain when the sender has said all; for a long body that is not worth it."""
        left = 0 if self._is_broken else DRAINED_BYTES
        with suppress(TimeoutError, BrokenOff):
            async with asyncio.timeout(DRAINING_SECONDS):
                while not self._has_ended and left > 0 and not self._waits_for_a_word:
                    left -= len(await self._next())
        return self._has_ended

    async def _next(self) -> bytes:
        message = await self._receive()
        self._waits_for_a_word = False
        if message["type"] == "http.disconnect":
            raise BrokenOff
        self._has_ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))


async def _take(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    body, patches, answer = Body(scope, receive), list[Patch](), list[Message]()
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding", b"expect")
    ]

    async def hear(message: Message) -> None:
        answer.append(message)

    try:
        await app({**scope, "headers": headers, PATCH: patches}, _no_body(), hear)
        if patches:
            answer = _messages(await _reply(patches[0], body))
    except BrokenOff:  # for one who fell silent; one who has gone hears nothing
        answer = _messages(
            tus.error(408, code="broken_off", message="The bytes stopped coming. What arrived is kept; go on from there.")
        )
    finally:
        for patch in patches:  # before the answer: the next piece may come with the sender's next breath
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, patch.file.close))
    is_drained = await body.is_drained()
    for message in answer:
        await send(message if is_drained else _closing(message))


def _no_body() -> Receive:
    said = False

    async def receive() -> Message:
        nonlocal said
        if said:
            await asyncio.get_running_loop().create_future()  # Django listens for a disconnect until the view is done
        said = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


async def _reply(patch: Patch, body: Body) -> HttpResponse:
    """Raises BrokenOff: then nobody is there to be told."""
    owner = patch.upload.owner_id
    if _on_their_way[owner] >= AT_ONCE:
        return tus.error(503, code="busy", message=f"You are sending {AT_ONCE} files already. This one can follow.")
    _on_their_way[owner] += 1
    try:
        if patch.file.offset + body.announced > patch.upload.size_bytes:
            raise PastTheEnd(size=patch.upload.size_bytes)
        await _stream(body, patch.file)
        await _in_thread(_finish, patch)
    except BrokenOff:
        await _in_thread(_break_off, patch)
        raise
    except DatasetRefusal as refusal:
        return tus.refused(refusal)
    finally:
        _on_their_way[owner] -= 1
    return HttpResponse(status=204, headers=tus.progress(patch.upload, offset=patch.file.offset))


async def _stream(body: Body, file: UploadFile) -> None:
    """One batch is filled while the one before is written and hashed by a thread."""
    writing: asyncio.Future[None] | None = None
    try:
        async for batch in body.batches():
            if writing:
                await writing
            writing = asyncio.get_running_loop().run_in_executor(None, file.append, batch)
    finally:
        if writing:
            await writing


def _finish(patch: Patch) -> None:
    patch.file.end_piece()
    store_progress(patch.upload, patch.file)


def _break_off(patch: Patch) -> None:
    patch.file.give_up_piece()
    with suppress(DatasetRefusal):
        store_progress(patch.upload, patch.file)


async def _in_thread(work: Callable[[Patch], None], patch: Patch) -> None:
    def run() -> None:
        try:
            work(patch)
        finally:
            connection.close()  # the thread's own; it may wait long for its next work

    await asyncio.get_running_loop().run_in_executor(None, run)


def _messages(response: HttpResponse) -> list[Message]:
    if response.status_code == 204:
        del response.headers["Content-Type"]
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    if response.status_code != 204:
        headers.append((b"content-length", str(len(response.content)).encode()))
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    return [start, {"type": "http.response.body", "body": response.content}]


def _closing(message: Message) -> Message:
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": [*message["headers"], (b"connection", b"close")]}
