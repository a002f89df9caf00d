"""`manage.py reaper`: goes on after whatever a pass met, cleans up once an hour, ends when told to."""

import os
import signal
import threading
from typing import Any

import pytest
from django.db import OperationalError

from webapp.upkeep.management.commands import reaper
from webapp.upkeep.management.commands.reaper import Command


@pytest.mark.parametrize("error", [OperationalError("gone"), RuntimeError("a bug")])
def test_a_pass_that_fails_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch, settings: Any, error: Exception):
    settings.REAPER_SECONDS = 0.01
    passes: list[str] = []

    def reap() -> None:
        passes.append("reap")
        if len(passes) >= 6:
            signal.raise_signal(signal.SIGTERM)
        raise error

    monkeypatch.setattr(reaper, "reap_once", reap)
    monkeypatch.setattr(reaper, "ring_for_tasks", lambda: passes.append("rung"))
    monkeypatch.setattr(reaper, "clean_up", lambda: passes.append("cleaned"))
    monkeypatch.setattr(reaper, "close_old_connections", lambda: None)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        watchdog = threading.Timer(20, os._exit, (3,))
        watchdog.start()
        Command().handle()
    finally:
        watchdog.cancel()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert passes[:3] == ["reap", "rung", "cleaned"]
    assert passes.count("cleaned") == 1
    assert passes.count("reap") >= 3
