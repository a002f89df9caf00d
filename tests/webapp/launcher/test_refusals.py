"""What is in the way of a start is one clear sentence: port, disk, network, Python, venv, folder, a second start."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.launcher import environment
from webapp.launcher.children import ROOT
from webapp.launcher.lock import only_one, running_address
from webapp.launcher.ports import address_of, check_can_listen, free_port, names_of_this_machine
from webapp.launcher.refusals import CannotStart

INSTALL = [sys.executable, str(ROOT / "webapp" / "launcher" / "install.py")]


def sentence_of(*arguments: str, **changes: str) -> str:
    """What ./start says on stderr when it refuses; it must be one line and status 1."""
    done = subprocess.run([*INSTALL, *arguments], capture_output=True, text=True, env=os.environ | changes, timeout=60)
    assert done.returncode == 1, done
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use(taken_port: int) -> None:
    with pytest.raises(CannotStart, match=f"Port {taken_port} is in use by another program"):
        check_can_listen("127.0.0.1", taken_port)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1"):
        check_can_listen("192.0.2.1", free_port())


def test_a_free_port_may_be_listened_on() -> None:
    check_can_listen("127.0.0.1", free_port())


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = sentence_of("--data", str(tmp_path / "file" / "data"))
    assert "cannot be written to (Not a directory)" in said
    assert "--data FOLDER" in said


def test_an_unsupported_python() -> None:
    done = subprocess.run(
        [str(ROOT / "start"), "--help"], capture_output=True, text=True, env=os.environ | {"NIBBLE_PYTHON": "false"}
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Nibble needs Python 3.11, 3.12 or 3.13")


def test_help_needs_nothing_installed() -> None:
    done = subprocess.run([*INSTALL, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for option in ("--port", "--data", "--demo", "--no-worker", "--host", "--exit", "--sign-in-link", "--email"):
        assert option in done.stdout


def test_exit_without_demo_is_refused() -> None:
    done = subprocess.run([*INSTALL, "--exit"], capture_output=True, text=True)
    assert (done.returncode, "--exit goes with --demo" in done.stderr) == (2, True)


def test_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "NEEDED_GIB", {"cpu": 10**9, "cuda": 10**9})
    with pytest.raises(CannotStart, match="GiB free, and Nibble needs"):
        environment._check_disk(is_new=True)


def test_no_venv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CannotStart, match=r"apt install python3\.\d+-venv"):
        environment._check_venv_module()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: No matching distribution found for x",
            "cannot be reached",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: No matching distribution found for torch==2.13.0", "has no torch==2.13.0 for this machine"),
        ("gcc: error: something else", "pip failed: gcc: error: something else"),
    ],
)
def test_what_pip_says_becomes_a_sentence(output: str, words: str) -> None:
    assert words in environment.sentence_for(output, otherwise="pip failed")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.2 MB)", "torch-2.13.0, 530.2 MB"),
        ("  Using cached asgiref-3.9.1-py3-none-any.whl (24 kB)", "asgiref-3.9.1, 24 kB"),
        ("Installing collected packages: a, b, c", "unpacking"),
        ("Collecting torch==2.13.0", ""),
    ],
)
def test_pips_lines_become_progress(line: str, shown: str) -> None:
    assert environment.pip_progress(line) == shown


def test_a_second_start_names_the_first(tmp_path: Path) -> None:
    assert running_address(tmp_path) == ""
    with only_one(tmp_path, address="http://127.0.0.1:8123"):
        assert running_address(tmp_path) == "http://127.0.0.1:8123"
        with pytest.raises(CannotStart) as refusal, only_one(tmp_path, address="http://127.0.0.1:8124"):
            pass
        assert f"already runs on this data folder: http://127.0.0.1:8123 (process {os.getpid()})" in refusal.value.sentence
    assert running_address(tmp_path) == ""
    with only_one(tmp_path, address="http://127.0.0.1:8124"):
        assert running_address(tmp_path) == "http://127.0.0.1:8124"


def test_what_a_browser_opens() -> None:
    assert address_of("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert address_of("::1", 8000) == "http://[::1]:8000"
    assert address_of("192.168.1.5", 80) == "http://192.168.1.5:80"


def test_a_dashboard_for_the_network_answers_to_the_machines_name() -> None:
    assert names_of_this_machine("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert socket.gethostname().lower() in names_of_this_machine("0.0.0.0")
    assert "192.168.1.5" in names_of_this_machine("192.168.1.5")
