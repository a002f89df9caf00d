"""Sends files under ASGI without reading them into memory, with ranges: Django's FileResponse does neither.

A view answers with `SendFile`; the ASGI wrapper sees its header and lets Starlette send the file.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from django.http import HttpResponse
from starlette.responses import FileResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = b"x-nibble-send-file"
NAME = b"x-nibble-send-name"


class SendFile(HttpResponse):
    """Replaced by the file at `path`; downloaded under `name` when one is given."""

    def __init__(self, path: Path, *, content_type: str, name: str = "") -> None:
        super().__init__(content_type=content_type)
        self.headers[PATH.decode()] = str(path)
        if name:
            self.headers[NAME.decode()] = quote(name)  # a header holds Latin-1 only


def sending_files(app: App) -> App:
    """Wraps an ASGI app: answers of `SendFile` become Starlette's FileResponse."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        file: list[FileResponse] = []

        async def watching_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message.get("headers", [])}  # Django writes Content-Length
                if PATH in headers:
                    file.append(_file_response(headers))
            if not file:
                await send(message)

        await app(scope, receive, watching_send)
        if file:
            await file[0](scope, receive, send)

    return wrapped


def _file_response(headers: dict[bytes, bytes]) -> FileResponse:
    kept = {k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items() if k not in (PATH, NAME, b"content-length")}
    name = unquote(headers.get(NAME, b"").decode("latin-1")) or None
    return FileResponse(headers[PATH].decode(), headers=kept, filename=name, media_type=kept.pop("content-type", None))
