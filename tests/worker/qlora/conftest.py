"""The tiny model, made once for all tests of this folder."""

from pathlib import Path

import pytest

from tests.worker.qlora.runs import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")
