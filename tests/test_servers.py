"""The servers of the tests are real: what is written can be read, and nothing is left afterwards."""

import tempfile
from pathlib import Path

import psycopg
import redis

from tests.servers import PostgresServer, RedisServer, postgres_server, redis_server, running


def test_redis_takes_its_password() -> None:
    with redis_server(password="p/ss") as url:
        client = redis.Redis.from_url(url)
        client.set("key", "value")
        assert client.get("key") == b"value"
    try:
        client.ping()
    except redis.ConnectionError:
        return
    raise AssertionError("Redis still answers")


def test_postgres_is_a_current_one() -> None:
    with postgres_server() as url, psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version_num").fetchone()
        assert row is not None
        assert int(row[0]) >= 150000


def test_a_restarted_postgres_has_its_rows() -> None:
    """At the same address, after an end without a shutdown."""
    with tempfile.TemporaryDirectory(prefix="nibble-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.prepare()
        with running(server):
            url = server.create_database("kept")
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE rows AS SELECT 1 AS number")
            server.restart(server.immediate_stop)
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT number FROM rows").fetchall() == [(1,)]


def test_a_restarted_redis_is_empty_unless_it_appends(tmp_path: Path) -> None:
    for append_only, kept in ((False, None), (True, b"value")):
        folder = tmp_path / str(append_only)
        folder.mkdir()
        server = RedisServer(folder, append_only=append_only)
        with running(server):
            with redis.Redis.from_url(server.url) as client:
                client.set("key", "value")
            server.restart()
            with redis.Redis.from_url(server.url) as client:
                assert client.get("key") == kept
