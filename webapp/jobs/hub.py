"""One hub a process: hears rings, reads the new rows of a job once, and sends the same bytes to all its sockets.

Channels' own fan-out hops to a thread for each message and socket: at 500 sockets it delivered a third.
"""

import asyncio
import contextlib
import logging
from collections import deque
from time import monotonic
from typing import Protocol

import orjson
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from webapp.jobs.live import group_of
from webapp.jobs.selectors import events_after, last_cursor, live_view, watchers_allowed

logger = logging.getLogger(__name__)

LOOK_ANYWAY_SECONDS = 5.0  # a lost ring costs at most this
SHORTEST_PAUSE_SECONDS = 0.03  # rings that come closer together are one push
EVENTS_A_MESSAGE = 500
MOST_WAITING = 64  # messages that a slow socket may be behind before it is closed and comes back by its cursor


class Socket(Protocol):
    user_id: int
    session_key: str

    def offer(self, text: str) -> bool: ...
    async def leave(self, code: int) -> None: ...


class Outbox:
    """Messages on their way to one socket. A full one means a reader that does not read."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._news = asyncio.Event()

    def put(self, text: str) -> bool:
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(text)
        self._news.set()
        return True

    async def get(self) -> str:
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Feed:
    """One job and the sockets that watch it. `cursor` is the last event that all of them have."""

    def __init__(self, job_id: int, *, cursor: int) -> None:
        self.job_id, self.cursor = job_id, cursor
        self.sockets: set[Socket] = set()
        self.news = asyncio.Event()
        self.lock = asyncio.Lock()

    async def run(self) -> None:
        asked = monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), LOOK_ANYWAY_SECONDS)
            self.news.clear()
            try:
                if monotonic() - asked >= LOOK_ANYWAY_SECONDS:
                    asked = monotonic()
                    await self._send_away_who_may_not_watch()
                await self.push()
            except Exception:  # the database may be away; the next look tries again
                logger.exception("The feed of job %s could not read its news", self.job_id)
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)

    async def push(self) -> None:
        async with self.lock:
            while True:
                text, cursor, count = await message_after(self.job_id, self.cursor)
                if cursor == self.cursor:
                    return
                self.cursor = cursor
                await self._fan_out(text)
                if count < EVENTS_A_MESSAGE:
                    return

    async def _fan_out(self, text: str) -> None:
        slow = [socket for socket in self.sockets if not socket.offer(text)]
        for socket in slow:
            self.sockets.discard(socket)
            await socket.leave(4408)

    async def _send_away_who_may_not_watch(self) -> None:
        """Signed out, disabled or moved to another team: within five seconds the socket is closed too."""
        wanted = {(socket.user_id, socket.session_key) for socket in self.sockets}
        allowed = await database_sync_to_async(watchers_allowed)(self.job_id, wanted)
        for socket in [s for s in self.sockets if (s.user_id, s.session_key) not in allowed]:
            self.sockets.discard(socket)
            await socket.leave(4401)


async def message_after(job_id: int, cursor: int) -> tuple[str, int, int]:
    """(text, cursor after it, number of events). With nothing new the cursor is the one given."""
    answer: tuple[str, int, int] = await database_sync_to_async(_message_after)(job_id, cursor)
    return answer


def _message_after(job_id: int, cursor: int) -> tuple[str, int, int]:
    view = live_view(job_id)
    events = events_after(job_id, cursor, limit=EVENTS_A_MESSAGE)
    if not events:
        return "", cursor, 0
    last: int = events[-1]["cursor"]
    return orjson.dumps({"cursor": last, **view, "events": events}).decode(), last, len(events)


class Hub:
    """All feeds of this process, and the one subscription that rings them."""

    def __init__(self) -> None:
        self.feeds: dict[int, Feed] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._channel = ""

    async def join(self, socket: Socket, *, job_id: int, after: int) -> None:
        """Sends what the socket has not seen, then keeps it up to date: no gap and no double between the two."""
        after = min(after, await database_sync_to_async(last_cursor)(job_id))  # a cursor from nowhere must not silence the feed
        feed = await self._feed(job_id, after=after)
        async with feed.lock:
            cursor = after
            while cursor < feed.cursor:
                text, cursor, _ = await message_after(job_id, cursor)
                if not socket.offer(text):
                    await socket.leave(4408)  # it comes back by its cursor for the rest
                    return
            feed.sockets.add(socket)
        feed.news.set()

    async def leave(self, socket: Socket, *, job_id: int) -> None:
        feed = self.feeds.get(job_id)
        if feed is None:
            return
        feed.sockets.discard(socket)
        if not feed.sockets:
            del self.feeds[job_id]
            self._tasks.pop(job_id).cancel()
            with contextlib.suppress(Exception):  # Redis away: there is nothing to leave
                await get_channel_layer().group_discard(group_of(job_id), self._channel)

    async def _feed(self, job_id: int, *, after: int) -> Feed:
        if job_id not in self.feeds:
            feed = self.feeds[job_id] = Feed(job_id, cursor=after)
            self._tasks[job_id] = asyncio.create_task(feed.run())
            await self._subscribe(job_id)
        return self.feeds[job_id]

    async def _subscribe(self, job_id: int) -> None:
        layer = get_channel_layer()
        try:
            if self._listener is None or self._listener.done():
                self._channel = await layer.new_channel("hub")
                self._listener = asyncio.create_task(self._listen())
            await layer.group_add(group_of(job_id), self._channel)
        except Exception as error:  # pages still move: each feed looks every 5 s
            logger.warning("Redis is away, job %s is watched by looking every %g s: %s", job_id, LOOK_ANYWAY_SECONDS, error)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        while True:
            try:
                message = await layer.receive(self._channel)
                feed = self.feeds.get(message.get("job_id"))
                if feed:
                    feed.news.set()
            except Exception as error:
                logger.warning("The hub lost Redis and listens again: %s", error)
                await asyncio.sleep(1)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running loop: one in production, one a test."""
    loop = asyncio.get_running_loop()
    for old in [known for known in _hubs if known.is_closed()]:
        del _hubs[old]
    return _hubs.setdefault(loop, Hub())
