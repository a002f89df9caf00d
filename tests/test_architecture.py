"""The arrows of docs/architecture.md: import-linter's contracts hold, and they are able to fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = str(Path(sys.executable).with_name("lint-imports"))


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [LINT, "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_every_import_points_the_right_way() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two packages and their rules, free to be broken."""
    import shutil

    folder = tmp_path_factory.mktemp("planted")
    for name in ("webapp", "worker"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("worker/contract/spec.py", "import torch", "The contract is pure"),
        ("webapp/jobs/services.py", "import worker.agent.host", "The dashboard knows the worker only through the contract"),
        ("worker/agent/host.py", "import torch", "The agent has no tensors"),
        ("worker/qlora/recipe.py", "import httpx", "Training has no network"),
        ("worker/fetching/web.py", "import torch", "Fetching has the network and nothing else"),
        ("webapp/datasets/selectors.py", "import webapp.jobs.models", "Apps depend downwards"),
        ("webapp/jobs/models.py", "import webapp.jobs.services", "Inside an app"),
    ],
)
def test_a_planted_import_is_caught(copy: Path, file: str, line: str, rule: str) -> None:
    target = copy / file
    honest = target.read_text()
    target.write_text(f"{honest}\n{line}\n")
    try:
        done = lint(copy)
    finally:
        target.write_text(honest)
    assert done.returncode != 0
    assert any(rule in said and "BROKEN" in said for said in done.stdout.splitlines()), done.stdout
