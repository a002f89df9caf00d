"""Django system checks of the installation: what is set wrongly, and what to do about it. They run at each start."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from worker.contract.orders import HEARTBEAT_SECONDS

LOOPBACK = ("localhost", "127.0.0.1", "::1", None)


@register
def public_url(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    url = settings.PUBLIC_URL
    if not url:
        return []
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        hint = "Set it to scheme, host and port alone: https://nibble.example.org"
        return [Error(f"NIBBLE_PUBLIC_URL={url!r} is not the address of a site.", hint=hint, id="nibble.E001")]
    return []


@register
def data_folders(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("DATASETS_DIR", "ADAPTERS_DIR", "CHECKPOINTS_DIR", "INCOMING_DIR", "FILE_UPLOAD_TEMP_DIR"):
        folder = Path(getattr(settings, name))
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            hint = "Give the folder to the user that runs the dashboard, or set NIBBLE_DATA to another one."
            found.append(Error(f"{folder} cannot be written to.", hint=hint, id="nibble.E003"))
    return found or _moves_are_renames()


def _moves_are_renames() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    moves = (("FILE_UPLOAD_TEMP_DIR", "DATASETS_DIR"), ("INCOMING_DIR", "ADAPTERS_DIR"), ("INCOMING_DIR", "CHECKPOINTS_DIR"))
    for source, target in moves:
        here, there = Path(getattr(settings, source)), Path(getattr(settings, target))
        if here.stat().st_dev != there.stat().st_dev:
            hint = "Keep the data folder on one file system, so that a file moves without being copied."
            found.append(Warning(f"{here} and {there} are on different file systems.", hint=hint, id="nibble.W004"))
    return found


@register
def redis(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    parts = urlsplit(settings.REDIS_URL)
    if parts.scheme not in ("redis", "rediss", "unix"):
        hint = "Use redis://:password@host:6379/0"
        return [Error(f"REDIS_URL begins with {parts.scheme!r}.", hint=hint, id="nibble.E005")]
    if parts.scheme != "unix" and parts.hostname not in LOOPBACK and not parts.password:
        hint = "Set a password there (requirepass), and REDIS_URL=redis://:password@host:6379/0"
        return [Warning(f"The Redis on {parts.hostname} is used without a password.", hint=hint, id="nibble.W006")]
    return []


@register
def channel_layer(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """channels_redis with redis-py 8's defaults lost two thirds of 320 idle sockets in 8 seconds."""
    layer: dict[str, Any] = dict(settings.CHANNEL_LAYERS["default"])
    hosts = layer.get("CONFIG", {}).get("hosts", [])
    is_safe = all(host.get("socket_timeout", 0) is None and host.get("max_connections", 0) >= 4096 for host in hosts)
    if "Redis" in layer["BACKEND"] and not is_safe:
        hint = 'Give each host "socket_timeout": None and "max_connections": 8192.'
        return [Error("The channel layer's Redis would drop idle sockets.", hint=hint, id="nibble.E007")]
    return []


@register
def lease(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.LEASE_SECONDS < 2 * HEARTBEAT_SECONDS:
        hint = f"Leave it at 30, or set at least {2 * HEARTBEAT_SECONDS:g}: workers may be silent for {HEARTBEAT_SECONDS:g} s."
        text = f"NIBBLE_LEASE_SECONDS={settings.LEASE_SECONDS:g} takes jobs from workers that are alive."
        return [Warning(text, hint=hint, id="nibble.W008")]
    return []


@register
def spooled_uploads(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Under ASGI a request's body is spooled to TMPDIR before any of our code sees it."""
    spool, data = Path(tempfile.gettempdir()), Path(settings.FILE_UPLOAD_TEMP_DIR)
    if spool.stat().st_dev == data.stat().st_dev or _free(spool) >= min(settings.MAX_DATASET_BYTES, _free(data)):
        return []
    text = f"Uploads pass through {spool}, which has less room than the data folder."
    return [Warning(text, hint=f"Set TMPDIR={data} for the web process.", id="nibble.W009")]


def _free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
