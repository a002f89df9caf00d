"""The servers of the tests are real: what is written can be read, and nothing is left afterwards."""

import psycopg
import redis

from tests.servers import postgres_server, redis_server


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
