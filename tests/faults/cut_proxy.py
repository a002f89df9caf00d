"""A TCP proxy between one agent and the web: a cable that can be cut, both ways or one way, and mended again.

All proxies of a process share one thread with an event loop; tests change them from outside.
"""

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Answer = TypeVar("Answer")
BLOCK = 1 << 16


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="cut-proxies", daemon=True).start()
    return loop


def _in_loop(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(30)


class CutProxy:
    """Open at first. `refuse` is a machine that is gone, `hold` a black hole, `lose_replies` a cable that carries one way only."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._refuses, self._loses_replies_to, self._delay = False, "", 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._ways = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.lost_replies = 0
        self._server = _in_loop(self._listen())
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def refuse(self) -> None:
        """Open connections break, new ones are refused."""
        self._refuses = True
        _in_loop(self._break_all())

    def hold(self, *ways: str) -> None:
        """A black hole: nothing arrives, nothing is refused. What was sent arrives late, once it is mended."""
        _in_loop(self._set(ways or ("up", "down"), is_open=False))

    def lose_replies(self, to: str = "/") -> None:
        """Requests whose first line has `to` arrive and are obeyed; instead of the reply the connection breaks."""
        self._loses_replies_to = to

    def delay(self, seconds: float) -> None:
        """Each block waits so long in each direction."""
        self._delay = seconds

    def mend(self) -> None:
        self._refuses, self._loses_replies_to, self._delay = False, "", 0.0
        _in_loop(self._set(("up", "down"), is_open=True))

    def close(self) -> None:
        self._server.close()
        self.mend()
        _in_loop(self._break_all())

    async def _listen(self) -> asyncio.Server:
        for way in self._ways.values():
            way.set()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _set(self, ways: tuple[str, ...], *, is_open: bool) -> None:
        for way in ways:
            (self._ways[way].set if is_open else self._ways[way].clear)()

    async def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, agent_in: asyncio.StreamReader, agent_out: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                return
            web_in, web_out = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            return
        else:
            self._writers |= {agent_out, web_out}
            asked = [b""]
            await asyncio.gather(self._carry(agent_in, web_out, "up", asked), self._carry(web_in, agent_out, "down", asked))
            self._writers -= {agent_out, web_out}
        finally:
            agent_out.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: str, asked: list[bytes]) -> None:
        """`asked` holds the first line of the connection's newest request."""
        try:
            while block := await source.read(BLOCK):
                if way == "up" and block.startswith((b"POST ", b"PUT ", b"GET ")):
                    asked[0] = block.partition(b"\r\n")[0]
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._ways[way].wait()
                if way == "down" and self._is_lost(asked[0]):
                    self.lost_replies += 1
                    target.transport.abort()
                target.write(block)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort() if self._refuses else target.close()

    def _is_lost(self, asked: bytes) -> bool:
        return bool(self._loses_replies_to) and self._loses_replies_to.encode() in asked
