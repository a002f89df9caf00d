"""Fixtures that every test may ask for."""

from pathlib import Path

import pytest

from tests.cast import Cast, meet_the_cast


@pytest.fixture
def cast(db: None) -> Cast:
    return meet_the_cast()


@pytest.fixture(autouse=True)
def quick_passwords(settings: "pytest.FixtureRequest") -> None:
    """The cast's four passwords take 1.5 s with Django's own hasher, in each test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, settings: "pytest.FixtureRequest") -> Path:
    """Every test writes into a folder of its own."""
    for name in ("DATASETS_DIR", "ADAPTERS_DIR", "INCOMING_DIR", "FILE_UPLOAD_TEMP_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)
    return tmp_path
