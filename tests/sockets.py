"""A websocket spoken to an ASGI application directly (channels.testing would need daphne)."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from asgiref.testing import ApplicationCommunicator


class SocketTest(ApplicationCommunicator):  # type: ignore[misc]
    def __init__(self, application: Any, url: str, *, headers: list[tuple[bytes, bytes]]) -> None:
        parts = urlsplit(url)
        scope = {
            "type": "websocket",
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        super().__init__(application, scope)

    async def connect(self) -> bool:
        """False: the handshake was refused."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(10)
        return bool(answer["type"] == "websocket.accept")

    async def text(self) -> str:
        message = await self.receive_output(10)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def closed_with(self) -> int:
        """The close code; messages before it are passed over."""
        while True:
            message = await self.receive_output(10)
            if message["type"] == "websocket.close":
                return int(message["code"])

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        try:
            await self.wait(5)
        except (asyncio.CancelledError, TimeoutError):
            self.stop(exceptions=False)
