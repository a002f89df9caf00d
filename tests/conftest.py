"""Fixtures that every test may ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from tests.cast import Cast, meet_the_cast
from tests.servers import redis_server


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
    for name in ("DATASETS_DIR", "ADAPTERS_DIR", "INCOMING_DIR", "FILE_UPLOAD_TEMP_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)
    return tmp_path
