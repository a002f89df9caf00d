"""While nobody can knock, nobody is marked lost."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from tests.cast import Cast
from tests.waiting import wait_until
from tests.webapp.jobs.work import claimed, expire, open_door
from webapp.jobs import door_watch
from webapp.jobs.clock import database_now
from webapp.jobs.door_watch import DoorKeeper, has_been_open_for_a_lease, refresh, watching_the_door
from webapp.jobs.models import Attempt, AttemptStatus, DoorWatch
from webapp.jobs.reaper import reap_once


def seconds_ago(seconds: float) -> Any:
    return database_now() - timedelta(seconds=seconds)


def watch(*, up_since: float, seen: float) -> None:
    DoorWatch.objects.update_or_create(pk=1, defaults={"up_since": seconds_ago(up_since), "seen_at": seconds_ago(seen)})


def test_it_opens_now_and_stays_open(cast: Cast):
    refresh()
    first = DoorWatch.objects.get()
    refresh()
    second = DoorWatch.objects.get()
    assert first.up_since == second.up_since
    assert second.seen_at > first.seen_at


@pytest.mark.parametrize(("seen", "is_gap"), [(14, False), (16, True)])
def test_a_gap_of_half_a_lease_starts_it_anew(cast: Cast, settings: Any, seen: float, is_gap: bool):
    settings.LEASE_SECONDS = 30
    watch(up_since=1000, seen=seen)
    refresh()
    assert (DoorWatch.objects.get().up_since > seconds_ago(5)) == is_gap


def test_a_clock_that_was_set_back_is_a_gap(cast: Cast):
    watch(up_since=-3600, seen=-3600)
    refresh()
    assert DoorWatch.objects.get().up_since <= database_now()


@pytest.mark.parametrize(
    ("up_since", "seen", "is_open"),
    [(31, 1, True), (29, 1, False), (1000, 14, True), (1000, 16, False)],
    ids=["a lease", "not yet a lease", "seen lately", "web is away"],
)
def test_open_for_a_lease(cast: Cast, settings: Any, up_since: float, seen: float, is_open: bool):
    settings.LEASE_SECONDS = 30
    watch(up_since=up_since, seen=seen)
    assert has_been_open_for_a_lease() == is_open


def test_a_door_that_nobody_watches_was_never_open(cast: Cast):
    assert not has_been_open_for_a_lease()


@pytest.mark.parametrize(("up_since", "seen", "lost"), [(1000, 0, 1), (10, 0, 0), (1000, 100, 0)])
def test_the_reaper_waits_for_it(cast: Cast, settings: Any, up_since: float, seen: float, lost: int):
    """Open; open again for 10 s; web away for 100 s."""
    settings.LEASE_SECONDS = 30
    _, attempt = claimed(cast)
    expire(attempt)
    watch(up_since=up_since, seen=seen)
    assert reap_once() == lost
    assert Attempt.objects.get(pk=attempt.pk).status == (AttemptStatus.LOST if lost else AttemptStatus.CLAIMED)


def test_a_database_that_is_away_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    answers: list[Exception | None] = [OperationalError("gone"), OperationalError("gone"), None, OperationalError("gone")]

    def refreshed() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(door_watch, "refresh", refreshed)
    monkeypatch.setattr(door_watch, "close_old_connections", lambda: None)
    keeper = DoorKeeper()
    for _ in range(4):
        keeper.tick()
    assert [record.message for record in caplog.records if "no worker is marked lost" in record.message] == [
        "The database does not answer; no worker is marked lost meanwhile: gone"
    ] * 2


def test_a_server_watches_from_its_first_moment(monkeypatch: pytest.MonkeyPatch):
    ticks = threading.Semaphore(0)
    keeper = DoorKeeper()
    monkeypatch.setattr(keeper, "_run", lambda: (ticks.release(), threading.Event().wait(5)))

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)

    app: Any = watching_the_door(inner, keeper)
    asyncio.run(app({"type": "websocket"}, None, None))
    assert not ticks.acquire(blocking=False)
    for kind in ("lifespan", "http", "http"):
        asyncio.run(app({"type": kind}, None, None))
    assert ticks.acquire(timeout=5)
    assert not ticks.acquire(blocking=False), "one thread a process"


@pytest.mark.django_db(transaction=True)
def test_the_thread_keeps_the_row_fresh(settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.LEASE_SECONDS = 0.6
    ended = threading.Event()
    keeper = DoorKeeper()
    monkeypatch.setattr(keeper, "_run", lambda: _some_ticks(keeper, ended))
    keeper.ensure_running()
    try:
        wait_until(has_been_open_for_a_lease, what="the door is open for a lease", seconds=20)
    finally:
        ended.set()
        assert keeper._thread is not None
        keeper._thread.join(10)
    open_door()


def _some_ticks(keeper: DoorKeeper, ended: threading.Event) -> None:
    try:
        while not ended.wait(0.1):
            keeper.tick()
    finally:
        connection.close()
