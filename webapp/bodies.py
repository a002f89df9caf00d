"""Refuses bodies that are too large before they fill the disk: under ASGI Django stores a whole body before any view is asked."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STRANGERS_BYTES = 2**20  # who brings neither session nor token can only sign in
ROOM_FOR_THE_FORM = 2**20
PIECES = ("/datasets/uploads", "/api/v1/uploads")
ADAPTER_FILE_BYTES = 20 * 2**30  # rank 256 on all layers of a 70B model, in fp32, has 13 GiB


class TooLarge(Exception):
    """The body went past its limit on the way."""


def limiting_bodies(app: App) -> App:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        limit = limit_of(scope["path"], headers=dict(scope["headers"]))
        if announced(dict(scope["headers"])) > limit:
            await _refuse(send, limit=limit)
            return
        try:
            await app(scope, _counting(receive, limit=limit), send)
        except TooLarge:
            await _refuse(send, limit=limit)

    return wrapped


def limit_of(path: str, *, headers: dict[bytes, bytes]) -> int:
    if b"authorization" not in headers and settings.SESSION_COOKIE_NAME.encode() not in headers.get(b"cookie", b""):
        return STRANGERS_BYTES
    if path.startswith(PIECES):
        return ROOM_FOR_THE_FORM  # pieces of files go past Django (webapp/datasets/receiving.py); nothing else there has a body
    return ADAPTER_FILE_BYTES if path.startswith("/worker/") else settings.MAX_DATASET_BYTES + ROOM_FOR_THE_FORM


def announced(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _counting(receive: Receive, *, limit: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge
        return message

    return counted


async def _refuse(send: Send, *, limit: int) -> None:
    text = f"This is larger than the {limit // 2**20:,} MiB that are taken here. Nothing was stored.\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})
