"""The socket of a job page: who may watch, from which cursor on, and when it is closed."""

import asyncio
import contextlib
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from webapp.jobs.hub import Outbox, hub
from webapp.jobs.models import Job
from webapp.jobs.selectors import job_for

_open: Counter[int] = Counter()  # sockets of each user in this process


class JobConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Close codes: 4401 signed out, 4404 no such job, 4408 too slow (come back), 4429 too many sockets. It listens to nobody."""

    async def connect(self) -> None:
        self.joined = False
        self.user_id, self.session_key = 0, ""
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close()  # before accept: the handshake is answered with 403
            return
        await self.accept()
        self.job_id = int(self.scope["url_route"]["kwargs"]["pk"])
        try:
            await database_sync_to_async(job_for)(user, self.job_id)
        except Job.DoesNotExist:
            await self.close(4404)
            return
        if _open[user.pk] >= settings.SOCKETS_PER_USER:
            await self.close(4429)
            return
        await self._join(user.pk)

    async def _join(self, user_id: int) -> None:
        self.user_id, self.session_key = user_id, self.scope["session"].session_key or ""
        self.outbox = Outbox()
        self.writer = asyncio.create_task(self._write())
        self.joined = True
        _open[user_id] += 1
        await hub().join(self, job_id=self.job_id, after=_after(self.scope["query_string"]))

    async def disconnect(self, code: int) -> None:
        if not self.joined:
            return
        self.joined = False
        _open[self.user_id] -= 1
        self.writer.cancel()
        await hub().leave(self, job_id=self.job_id)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Nothing that a browser sends is acted upon."""

    def offer(self, text: str) -> bool:
        return self.outbox.put(text)

    async def leave(self, code: int) -> None:
        with contextlib.suppress(Exception):  # gone already
            await self.close(code)

    async def _write(self) -> None:
        while True:
            await self.send(text_data=await self.outbox.get())


def _after(query: bytes) -> int:
    """The cursor of ?after=; anything that is not a whole number counts as 0, from the beginning."""
    value = parse_qs(query.decode("latin-1")).get("after", ["0"])[0]
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
