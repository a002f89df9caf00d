"""Databases for tests with real processes: migrated once a session, copied for each use, and read by this process too."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from tests.servers import PostgresServer, running
from webapp.database import database_from_url


class Databases:
    """One PostgreSQL server and one SQLite file, each made when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._made = stack, 0

    @cached_property
    def postgres(self) -> PostgresServer:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nibble-postgres-"))
        server = PostgresServer(Path(folder))
        server.prepare()
        self._stack.enter_context(running(server))
        _migrate(server.create_database("template_nibble"))
        return server

    @cached_property
    def _sqlite(self) -> Path:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nibble-sqlite-"))
        path = Path(folder) / "template.sqlite3"
        _migrate(f"sqlite://{path}")
        return path

    def fresh(self, kind: str, folder: Path) -> str:
        """The URL of a migrated, empty database; SQLite's lies in `folder`."""
        if kind == "sqlite":
            shutil.copyfile(self._sqlite, folder / "nibble.sqlite3")
            return f"sqlite://{folder / 'nibble.sqlite3'}"
        self._made += 1
        return self.postgres.create_database(f"nibble_{self._made}", template="template_nibble")


@contextmanager
def databases() -> Iterator[Databases]:
    with ExitStack() as stack:
        yield Databases(stack)


@contextmanager
def database_at(url: str) -> Iterator[None]:
    """This process reads and writes that database for a while."""
    kept_settings, kept = connections.settings, getattr(connections._connections, "default", None)  # type: ignore[attr-defined]
    connections.settings = settings.DATABASES = connections.configure_settings({"default": database_from_url(url, data=Path())})
    _forget()
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings = settings.DATABASES = kept_settings
        _forget()
        if kept is not None:
            connections["default"] = kept


def _forget() -> None:
    if hasattr(connections._connections, "default"):  # type: ignore[attr-defined]
        del connections["default"]


def _migrate(url: str) -> None:
    with database_at(url):
        call_command("migrate", verbosity=0)
