"""The shared environment: stamps that change with what they stand for, and torch from PyTorch's own index on a machine without a GPU."""

import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from webapp.launcher import environment
from webapp.launcher.environment import REQUIREMENTS, Stamp
from webapp.launcher.terminal import Step


def test_a_stamp_is_current_until_a_requirement_changes(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("Django==5.2\n")
    stamp = Stamp(tmp_path / "stamp", (requirements,))
    assert not stamp.is_current()
    stamp.keep()
    assert stamp.is_current()
    requirements.write_text("Django==5.3\n")
    assert not stamp.is_current()


def test_another_python_makes_another_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = Stamp(tmp_path / "stamp", REQUIREMENTS)
    monkeypatch.setattr(environment, "_python_version", lambda: "3.11")
    stamp.keep()
    monkeypatch.setattr(environment, "_python_version", lambda: "3.13")
    assert not stamp.is_current()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index on loopback that has one torch: the pinned one, a few bytes large."""
    pin = next(line for line in REQUIREMENTS[2].read_text().splitlines() if line.startswith("torch=="))
    version = f"{pin.removeprefix('torch==')}+cpu"
    folder = tmp_path / "index" / "torch"
    folder.mkdir(parents=True)
    name = f"torch-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        info = f"torch-{version}.dist-info"
        wheel.writestr("torch/__init__.py", "small = True\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')
    handler = partial(QuietHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip installs here instead of into the environment of the tests."""
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "PYTHON", Path(environment.sys.executable))
    return tmp_path / "target"


def test_without_a_gpu_torch_comes_from_its_own_index(index: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIBBLE_TORCH_INDEX", index)
    monkeypatch.setattr(environment, "_has_nvidia_gpu", lambda: False)
    environment._install_cpu_torch(shown=Step("Installing"))
    assert (target / "torch" / "__init__.py").read_text() == "small = True\n"


@pytest.mark.parametrize(("has_gpu", "reachable"), [(True, True), (False, False)])
def test_else_it_comes_from_the_usual_index(
    index: str, target: Path, monkeypatch: pytest.MonkeyPatch, has_gpu: bool, reachable: bool
) -> None:
    monkeypatch.setenv("NIBBLE_TORCH_INDEX", index if reachable else "http://127.0.0.1:1/")
    monkeypatch.setattr(environment, "_has_nvidia_gpu", lambda: has_gpu)
    environment._install_cpu_torch(shown=Step("Installing"))
    assert not target.exists()
