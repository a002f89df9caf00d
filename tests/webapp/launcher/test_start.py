"""./start as a whole: what it starts answers, what dies comes back, what it started ends with it, and a second start is quick."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.running import Nibble, running_nibble
from tests.servers import free_port
from tests.waiting import wait_until
from tests.worker.agent.tiny_model import write_model
from webapp.launcher.children import ROOT
from webapp.launcher.visitor import VisitFailed, Visitor

PROGRAMS = ("valkey-server", "uvicorn", "reaper", "celery")


@pytest.fixture(scope="module")
def nibble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nibble]:
    with running_nibble(tmp_path_factory.mktemp("start"), "--no-worker", "--email", "ada@example.org") as running:
        yield running


def start(data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", "start", "--data", str(data), *options]
    env = os.environ | {"NIBBLE_DATA": str(data)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def below(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def visit(link: str) -> Visitor:
    return Visitor(link, csrf_cookie="nibble_csrf")


def test_the_printed_link_signs_the_first_administrator_in_once(nibble: Nibble) -> None:
    visitor = visit(nibble.sign_in_link)
    assert visitor.get("me")["email"] == "ada@example.org"
    assert [pool["name"] for pool in visitor.get("pools")["data"]] == ["local"]
    assert visitor.get("models")["data"]
    assert visitor.get("datasets")["data"]
    with pytest.raises(VisitFailed):
        visit(nibble.sign_in_link)


def test_another_link_is_made_while_it_runs(nibble: Nibble) -> None:
    done = start(nibble.data, "--sign-in-link")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(f"{nibble.url}/link/")
    assert visit(done.stdout.strip()).get("me")["email"] == "ada@example.org"


def test_a_second_one_on_the_same_data_is_refused(nibble: Nibble) -> None:
    done = start(nibble.data, "--port", str(free_port()))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"already runs on this data folder: {nibble.url}" in done.stderr


def test_a_port_in_use_is_one_sentence_and_leaves_nothing(nibble: Nibble, tmp_path: Path) -> None:
    port = nibble.url.rpartition(":")[2]
    done = start(tmp_path, "--no-worker", "--port", port)
    assert done.returncode == 1
    assert f"Port {port} is in use by another program" in done.stdout
    assert not (tmp_path / "redis").exists()


def test_everything_runs_and_no_secret_stands_in_a_command_line(nibble: Nibble) -> None:
    lines = [" ".join(process.cmdline()) for process in below(nibble.process.pid)]
    assert [name for name in PROGRAMS if not any(name in line for line in lines)] == []
    password = (nibble.data / "redis" / "server.json").read_text().split('"password": "')[1].rstrip('"}')
    assert len(password) > 20
    assert not any(password in line for line in lines)


def test_a_killed_web_comes_back(nibble: Nibble) -> None:
    nibble.program("uvicorn").kill()
    wait_until(lambda: "web was ended by SIGKILL; it starts again in 1 s" in nibble.said.read_text(), what="the sentence")
    wait_until(lambda: answers(nibble), what="the new web")


def answers(nibble: Nibble) -> bool:
    try:
        return httpx.get(f"{nibble.url}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_ctrl_c_ends_everything_and_the_next_start_is_quick(tmp_path: Path) -> None:
    with running_nibble(tmp_path, "--no-worker") as first:
        started = below(first.process.pid)
        assert len(started) >= len(PROGRAMS)
    assert first.process.returncode == 0
    assert gone(started)
    assert first.said.read_text().rstrip().endswith("Nibble is stopped.")
    began = time.monotonic()
    with running_nibble(tmp_path, "--no-worker") as second:
        assert time.monotonic() - began < 30  # 4 s on an idle machine; tests share theirs
        assert "Preparing the database" not in second.said.read_text()


def test_a_killed_start_leaves_nothing_and_holds_no_lock(tmp_path: Path) -> None:
    with running_nibble(tmp_path, "--no-worker") as killed:
        started = below(killed.process.pid)
        killed.process.send_signal(signal.SIGKILL)
        wait_until(lambda: gone(started), what="the end of what it had started", seconds=40)
    with running_nibble(tmp_path, "--no-worker"):
        pass


def test_its_worker_joins_once_and_follows_to_another_port(tmp_path: Path) -> None:
    model = write_model(tmp_path / "smollm2-135m-instruct")
    data = tmp_path / "data"
    with running_nibble(data, example_model=model) as first:
        visitor = visit(first.sign_in_link)
        wait_until(lambda: online(visitor) == 1, what="the worker")
    with running_nibble(data) as second:
        assert second.url != first.url
        worker = second.program("worker.agent", "run")
        wait_until(lambda: speaks_to(worker, second), what="the worker's connection to the new address", seconds=60)


def speaks_to(worker: psutil.Process, nibble: Nibble) -> bool:
    port = int(nibble.url.rpartition(":")[2])
    family = [worker, *worker.children(recursive=True)]
    return any(connection.raddr and connection.raddr.port == port for each in family for connection in each.net_connections())


def online(visitor: Visitor) -> int:
    return int(visitor.get("pools")["data"][0]["workers_online"])
