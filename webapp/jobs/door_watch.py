"""Since when could workers reach the dashboard? While they cannot, their silence says nothing, and nothing is marked lost.

Each web process refreshes one row a few times a lease. A gap in the row is a time in which nobody could have been heard:
web away, database away, or both. After it every worker gets one whole lease to speak again.
"""

import logging
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error, IntegrityError, close_old_connections, connection, transaction
from django.db.models import Case, DateTimeField, F, Q, Value, When

from webapp.jobs.clock import database_now
from webapp.jobs.models import DoorWatch

logger = logging.getLogger(__name__)
TICKS_A_LEASE = 6
ONLY_ROW = 1

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[..., Awaitable[Any]], Callable[..., Awaitable[None]]], Awaitable[None]]


def lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def refresh() -> None:
    """The door is open now. One UPDATE, so that several web processes together see each gap once."""
    now = database_now()
    # A clock that was set back counts as a gap too: what was seen "later" says nothing.
    missed = When(Q(seen_at__lt=now - lease() / 2) | Q(up_since__gt=now), then=Value(now, output_field=DateTimeField()))
    row = DoorWatch.objects.filter(pk=ONLY_ROW)
    if not row.update(up_since=Case(missed, default=F("up_since")), seen_at=now):
        try:
            with transaction.atomic():
                DoorWatch.objects.create(pk=ONLY_ROW, up_since=now, seen_at=now)
        except IntegrityError:  # another web process was faster
            refresh()


def has_been_open_for_a_lease(now: datetime | None = None) -> bool:
    """Whoever is silent now has had a whole lease in which to speak."""
    now = now or database_now()
    watch = DoorWatch.objects.filter(pk=ONLY_ROW).first()
    return watch is not None and now - watch.seen_at <= lease() / 2 and now - watch.up_since >= lease()


class DoorKeeper:
    """A thread of a web process. It says nothing while the database is away, except that it is, once."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_reachable = True

    def ensure_running(self) -> None:
        """Also after a fork, which leaves threads behind."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="door-watch", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self.tick()
            pause.wait(settings.LEASE_SECONDS / TICKS_A_LEASE)

    def tick(self) -> None:
        try:
            close_old_connections()
            refresh()
        except Error as error:
            connection.close()
            if self._is_reachable:
                logger.warning("The database does not answer; no worker is marked lost meanwhile: %s", error)
            self._is_reachable = False
        else:
            self._is_reachable = True


def watching_the_door(app: App, keeper: DoorKeeper | None = None) -> App:
    """Wraps an ASGI app: the watch begins with the server (its lifespan), or with the first request where it has none."""
    keeper = keeper or DoorKeeper()

    async def wrapped(scope: Scope, receive: Callable[..., Awaitable[Any]], send: Callable[..., Awaitable[None]]) -> None:
        if scope["type"] in ("lifespan", "http"):
            keeper.ensure_running()
        await app(scope, receive, send)

    return wrapped
