"""Documentation that cannot rot: every variable that is read is documented, and every documented one is read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from webapp.launcher.options import add_options

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "configuration.md").read_text()
READERS = ("text", "flag", "number", "names", "folder")  # of webapp/env.py
OURS = re.compile(r"NIBBLE_[A-Z_]*[A-Z]")
# What one process of ours tells another, and the beginning of a name: setting them by hand has no meaning.
INTERNAL = {"NIBBLE_STARTED_BY", "NIBBLE_AGENT_DATA", "NIBBLE_AGENT_SLOT", "NIBBLE_AGENT_GPUS", "NIBBLE_TRAINER", "NIBBLE_MEETING"}
ELSEWHERE = {
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_USE_AGENT_STORE",
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "HF_HUB_OFFLINE",
}  # the system's and libraries' own


def python_files() -> Iterator[Path]:
    for folder in ("webapp", "worker"):
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if "migrations" not in path.parts)


def reads_of(path: Path) -> Iterator[str]:
    """env.text("X"), os.environ.get("X"), os.environ["X"], os.getenv("X"), and every name of ours in whatever call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.Call) and node.args and _is_read(node.func):
            yield from _constant(node.args[0])
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and ast.unparse(node.value) == "os.environ":
            yield from _constant(node.slice)


def _is_read(function: ast.expr) -> bool:
    name = ast.unparse(function)
    return name in ("os.environ.get", "os.getenv") or name in {f"env.{reader}" for reader in READERS}


def _constant(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def other_files() -> str:
    names = ("start", "test", "docker-compose.yml", "webapp/Dockerfile", "worker/Dockerfile", "worker/run_in_container.sh")
    return "\n".join((ROOT / name).read_text() for name in names)


def documented() -> set[str]:
    """The variables of the first column of the tables."""
    cells = re.findall(r"^\|([^|]+)\|", DOCUMENT, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cell)}


def test_every_variable_is_documented() -> None:
    read = {name: path for path in python_files() for name in reads_of(path)}
    assert {"NIBBLE_DATA", "SECRET_KEY", "NIBBLE_POLL_SECONDS", "HF_TOKEN", "NIBBLE_TORCH_INDEX"} <= set(read), (
        "the walk finds too little"
    )
    missing = {name: str(path.relative_to(ROOT)) for name, path in read.items() if name not in documented() | INTERNAL | ELSEWHERE}
    assert missing == {}


def test_every_documented_variable_is_read() -> None:
    read = {name for path in python_files() for name in reads_of(path)} | set(re.findall(r"[A-Z][A-Z0-9_]{3,}", other_files()))
    assert documented() - read == set()


def test_scripts_and_containers_use_documented_variables() -> None:
    assert set(OURS.findall(other_files())) - documented() == set()


def test_defaults_are_the_settings_own() -> None:
    from django.conf import settings

    for name, setting in (
        ("NIBBLE_MAX_DATASET_BYTES", settings.MAX_DATASET_BYTES),
        ("NIBBLE_UPLOAD_HOURS", settings.UPLOAD_HOURS),
        ("NIBBLE_LEASE_SECONDS", settings.LEASE_SECONDS),
        ("NIBBLE_REAPER_SECONDS", settings.REAPER_SECONDS),
        ("NIBBLE_MAX_RETRIES", settings.MAX_RETRIES),
        ("NIBBLE_RETRY_SECONDS", settings.RETRY_SECONDS),
        ("NIBBLE_LOG_LINES_PER_JOB", settings.LOG_LINES_PER_JOB),
        ("NIBBLE_LOG_BYTES_PER_JOB", settings.LOG_BYTES_PER_JOB),
        ("NIBBLE_MIN_FREE_BYTES", settings.MIN_FREE_BYTES),
        ("NIBBLE_PATIENCE_SECONDS", settings.PATIENCE_SECONDS),
        ("NIBBLE_SOCKETS_PER_USER", settings.SOCKETS_PER_USER),
    ):
        row = re.search(rf"^\| `{name}` \| `(\d+)`", DOCUMENT, re.MULTILINE)
        assert row is not None, name
        assert float(row.group(1)) == setting, name


def test_every_fault_names_tests_that_exist_and_none_is_left_out() -> None:
    named = set(re.findall(r"`(test_\w+\.py::test_\w+)`", (ROOT / "docs" / "faults.md").read_text()))
    judges = "test_invariants.py"
    there = {
        f"{path.name}::{node.name}"
        for path in (ROOT / "tests" / "faults").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and path.name != judges
    }
    assert len(named) > 40
    assert named == there


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    assert len(pages) >= 3
    broken = []
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_options_of_start_are_complete() -> None:
    from argparse import ArgumentParser

    parser = ArgumentParser()
    add_options(parser)
    assert all(action.help for action in parser._actions)
