"""Checks of the installation: each finds its fault, and says what to do."""

from pathlib import Path
from typing import Any

import pytest

from webapp import checks


def ids(check: Any) -> list[str]:
    found = check(None)
    assert all(message.hint for message in found)
    return [message.id for message in found]


def test_a_fresh_installation_has_nothing_to_mend():
    for check in (checks.public_url, checks.data_folders, checks.redis, checks.channel_layer, checks.lease):
        assert ids(check) == []


@pytest.mark.parametrize("url", ["nibble.example.org", "ftp://x.example", "https://x.example/path", "https://"])
def test_a_public_url_is_an_address(settings, url: str):
    settings.PUBLIC_URL = url
    assert ids(checks.public_url) == ["nibble.E001"]


def test_a_data_folder_must_be_there(settings, tmp_path: Path):
    settings.ADAPTERS_DIR = tmp_path / "gone"
    assert ids(checks.data_folders) == ["nibble.E003"]


def test_folders_on_two_file_systems_are_said(settings):
    settings.FILE_UPLOAD_TEMP_DIR = Path("/dev/shm")
    assert ids(checks.data_folders) == ["nibble.W004"]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:6379", ["nibble.E005"]),
        ("redis://redis.example:6379/0", ["nibble.W006"]),
        ("redis://:secret@redis.example:6379/0", []),
        ("unix:///run/redis.sock", []),
    ],
)
def test_redis_is_named_and_locked(settings, url: str, found: list[str]):
    settings.REDIS_URL = url
    assert ids(checks.redis) == found


def test_a_layer_that_drops_sockets_is_refused(settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [{}]}}}
    assert ids(checks.channel_layer) == ["nibble.E007"]


def test_a_lease_must_outlast_two_heartbeats(settings):
    settings.LEASE_SECONDS = 6
    assert ids(checks.lease) == ["nibble.W008"]


def test_a_small_spool_is_said(settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: "/dev/shm")
    monkeypatch.setattr(checks, "_free", lambda folder: 10 if str(folder) == "/dev/shm" else 1000)
    assert ids(checks.spooled_uploads) == ["nibble.W009"]
