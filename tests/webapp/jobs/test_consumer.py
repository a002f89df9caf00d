"""The socket of a job page, over a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from tests.cast import Cast, meet_the_cast
from tests.sockets import SocketTest
from tests.webapp.jobs.work import batch, claimed, log
from webapp.accounts.models import User
from webapp.asgi import application
from webapp.jobs import hub
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Job

pytestmark = pytest.mark.django_db(transaction=True)
HOST = (b"host", b"localhost")
ORIGIN = (b"origin", b"http://localhost")


def in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    return sync_to_async(function, thread_sensitive=True)


def signed_in(user: User) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(user)
    return b"cookie", f"nibble_session={client.cookies['nibble_session'].value}".encode()


@asynccontextmanager
async def socket(job: Job, *headers: tuple[bytes, bytes], after: int | str = 0) -> AsyncIterator[SocketTest]:
    spoken = SocketTest(application, f"/ws/jobs/{job.pk}/?after={after}", headers=[HOST, *headers])
    yield spoken
    await spoken.leave()


async def cursors_until(communicator: SocketTest, last: int) -> list[int]:
    """Cursors of all events received, until `last` is among them."""
    seen: list[int] = []
    while not seen or seen[-1] < last:
        message = json.loads(await communicator.text())
        seen += [event["cursor"] for event in message["events"]]
    return seen


async def until_watched(job: Job) -> None:
    async with asyncio.timeout(10):
        while not (job.pk in hub.hub().feeds and hub.hub().feeds[job.pk].sockets):  # noqa: ASYNC110  (the hub tells no test)
            await asyncio.sleep(0.01)


@pytest.fixture
def work() -> tuple[Cast, Job, Attempt]:
    cast = meet_the_cast()
    return cast, *claimed(cast)


async def test_anonymous_is_refused(work: tuple[Cast, Job, Attempt]):
    _, job, _ = work
    async with socket(job, ORIGIN) as stranger:
        assert not await stranger.connect()


@pytest.mark.parametrize("origin", [(b"origin", b"http://evil.example"), (b"origin", b"null"), (b"x-none", b"")])
async def test_another_site_is_refused(work: tuple[Cast, Job, Attempt], origin: tuple[bytes, bytes]):
    cast, job, _ = work
    cookie = await in_thread(signed_in)(cast.alice)
    async with socket(job, origin, cookie) as evil:
        assert not await evil.connect()


async def test_another_team_is_told_that_there_is_no_such_job(work: tuple[Cast, Job, Attempt]):
    cast, job, _ = work
    cookie = await in_thread(signed_in)(cast.charlie)
    async with socket(job, ORIGIN, cookie) as stranger:
        await stranger.connect()
        assert await stranger.closed_with() == 4404


async def test_the_owner_gets_past_and_new_events_once_and_in_order(work: tuple[Cast, Job, Attempt]):
    cast, job, attempt = work
    cookie = await in_thread(signed_in)(cast.alice)
    await in_thread(store_batch)(attempt, batch(attempt, log("before")))
    async with socket(job, ORIGIN, cookie) as mine:
        await mine.connect()
        first = await cursors_until(mine, 3)
        await in_thread(store_batch)(attempt, batch(attempt, log("while"), first_seq=2))
        assert first + await cursors_until(mine, 4) == [1, 2, 3, 4]


async def test_a_cursor_skips_what_was_seen(work: tuple[Cast, Job, Attempt]):
    cast, job, attempt = work
    cookie = await in_thread(signed_in)(cast.alice)
    await in_thread(store_batch)(attempt, batch(attempt, log("a"), log("b")))
    async with socket(job, ORIGIN, cookie, after=3) as mine:
        await mine.connect()
        assert await cursors_until(mine, 4) == [4]


@pytest.mark.parametrize("after", ["10000000", "-1", "abc", "9" * 40])
async def test_a_cursor_from_nowhere_silences_nobody(work: tuple[Cast, Job, Attempt], after: str):
    cast, job, attempt = work
    cookie = await in_thread(signed_in)(cast.alice)
    async with socket(job, ORIGIN, cookie, after=after) as odd:
        await odd.connect()
        await until_watched(job)
        await in_thread(store_batch)(attempt, batch(attempt, log("news")))
        assert (await cursors_until(odd, 3))[-1] == 3


async def test_two_sockets_get_the_same_bytes(work: tuple[Cast, Job, Attempt]):
    cast, job, attempt = work
    alice, bob = await in_thread(signed_in)(cast.alice), await in_thread(signed_in)(cast.bob)
    async with socket(job, ORIGIN, alice, after=2) as one, socket(job, ORIGIN, bob, after=2) as two:
        await one.connect()
        await two.connect()
        await in_thread(store_batch)(attempt, batch(attempt, log("news")))
        assert await one.text() == await two.text()


@pytest.mark.parametrize("how", ["disabled", "signed_out"])
async def test_who_may_not_watch_any_more_is_sent_away(work: tuple[Cast, Job, Attempt], how: str, monkeypatch: pytest.MonkeyPatch):
    cast, job, _ = work
    monkeypatch.setattr(hub, "LOOK_ANYWAY_SECONDS", 0.1)
    cookie = await in_thread(signed_in)(cast.alice)
    async with socket(job, ORIGIN, cookie, after=2) as mine:
        await mine.connect()
        if how == "disabled":
            await User.objects.filter(pk=cast.alice.pk).aupdate(is_active=False)
        else:
            await SessionStore(cookie[1].decode().partition("=")[2]).aflush()
        assert await mine.closed_with() == 4401


async def test_one_user_cannot_take_all_sockets(work: tuple[Cast, Job, Attempt], settings: Any):
    cast, job, _ = work
    settings.SOCKETS_PER_USER = 1
    cookie = await in_thread(signed_in)(cast.alice)
    async with socket(job, ORIGIN, cookie) as one, socket(job, ORIGIN, cookie) as two:
        await one.connect()
        await two.connect()
        assert await two.closed_with() == 4429


async def test_the_last_to_leave_ends_the_feed(work: tuple[Cast, Job, Attempt]):
    cast, job, _ = work
    cookie = await in_thread(signed_in)(cast.alice)
    async with socket(job, ORIGIN, cookie) as mine:
        await mine.connect()
        await cursors_until(mine, 2)
        assert job.pk in hub.hub().feeds
    assert job.pk not in hub.hub().feeds
