"""Fixtures that every test may ask for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from tests.cast import Cast, meet_the_cast
from tests.servers import postgres_server, redis_server
from webapp.database import database_from_url

TESTS = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", action="store_true", help="run the tests that need a database on a PostgreSQL of their own")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Claims, ingest and everything else about jobs must hold on both databases."""
    for item in items:
        if {"jobs", "worker_api", "api", "upkeep"} & set(item.path.relative_to(TESTS).parts):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """The server of --postgres goes as a whole; a thread of a test may still hold a connection to its database."""
    return bool(request.config.getoption("--postgres"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, django_db_modify_db_settings_parallel_suffix: None
) -> Iterator[None]:
    """With --postgres the tests' database is a fresh PostgreSQL instead of SQLite (or what DATABASE_URL names)."""
    if not request.config.getoption("--postgres"):
        yield
        return
    from django.db import connections

    with postgres_server() as url:
        configured = connections.configure_settings({"default": database_from_url(url, data=Path())})
        connections.settings = django_settings.DATABASES = configured
        if hasattr(connections._connections, "default"):
            del connections["default"]
        yield


@pytest.fixture(scope="session", autouse=True)
def redis_url() -> Iterator[str]:
    """A real Redis for rings of every test of this process."""
    from webapp.celeryapp import app

    with redis_server() as url:
        # A password hash is slow on purpose (0.4 s); the cast has four of them.
        django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        django_settings.REDIS_URL = app.conf.broker_url = url
        django_settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"] = url
        yield url


@pytest.fixture
def cast(db: None) -> Cast:
    return meet_the_cast()


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, settings: Any) -> Path:
    """Every test writes into a folder of its own."""
    for name in ("DATASETS_DIR", "ADAPTERS_DIR", "CHECKPOINTS_DIR", "INCOMING_DIR", "TOKENIZERS_DIR", "FILE_UPLOAD_TEMP_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)
    return tmp_path


@pytest.fixture(scope="session")
def example_model() -> Path:
    """SmolLM2-135M-Instruct, made once (about 40 s) and kept in .cache/ or NIBBLE_TEST_CACHE."""
    folder = Path(os.environ.get("NIBBLE_TEST_CACHE", TESTS.parent / ".cache")) / "example_model"
    if not (folder / "config.json").exists():
        subprocess.run([sys.executable, "-m", "worker.qlora.example_model", str(folder)], cwd=TESTS.parent, check=True)
    return folder
