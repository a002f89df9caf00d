"""The containers' processes by hand: their commands, environments and files, on a real PostgreSQL and Redis, through one whole job.

The folder that they run in holds what the Dockerfiles copy and nothing else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboards import ROWS
from tests.deploy.compose import ROOT, SECRETS, compose_config, lay_out, resolved
from tests.servers import free_port, postgres_server, redis_server
from tests.waiting import wait_until
from tests.worker.agent.dashboard import QUICK
from tests.worker.agent.tiny_model import write_model
from webapp.launcher import children
from webapp.launcher.children import Child, Program
from webapp.launcher.visitor import Visitor

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Stack:
    """What `docker compose up` would bring, as processes of this machine."""

    url: str
    app: Path
    folder: Path
    services: dict[str, Any]
    changes: dict[str, str]

    def environment(self, service: str) -> dict[str, str]:
        """Of the compose file, at this machine's addresses; nothing of the caller's but PATH."""
        given = {name: str(value) for name, value in self.services[service]["environment"].items()}
        here = {name: value for name, value in self.changes.items() if name in given}
        image = environment_of_image("worker/Dockerfile" if service == "gpu-worker" else "webapp/Dockerfile")
        return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | image | given | here

    def run(self, service: str, *command: str) -> str:
        done = subprocess.run(command, cwd=self.app, env=self.environment(service), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def program(self, service: str, *command: str, **extra: str) -> Program:
        return Program(service, command, self.environment(service) | extra)


def environment_of_image(dockerfile: str) -> dict[str, str]:
    line = re.search(r"^ENV (.*)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    assert line is not None
    return dict(pair.split("=", 1) for pair in line.group(1).split())


def command_of_image(dockerfile: str) -> list[str]:
    found = re.search(r"^CMD (\[.*\])$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    assert found is not None
    return list(json.loads(found.group(1)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("compose")
    with ExitStack() as servers:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        changes = {
            "DATABASE_URL": servers.enter_context(postgres_server()),
            "REDIS_URL": (redis := servers.enter_context(redis_server(password=SECRETS["REDIS_PASSWORD"], append_only=True))),
            "NIBBLE_WORKER_REDIS_URL": redis,
            "NIBBLE_DATA": str(folder / "data"),
            "NIBBLE_PUBLIC_URL": url,
            "NIBBLE_DASHBOARD_URL": url,
        }
        yield Stack(url, lay_out("webapp/Dockerfile", folder / "web"), folder, resolved()["services"], changes)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    started: list[Child] = []

    def start(program: Program, *, folder: Path) -> Child:
        monkeypatch.setattr(children, "ROOT", folder)
        started.append(Child(program, logs=tmp_path))
        return started[-1]

    yield start
    for child in reversed(started):
        child.ask_to_end()
        wait_until(lambda child=child: child.status is not None, what=f"the end of {child.program.name}", seconds=40)
        child.end_now()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_a_job_goes_through_the_containers_processes(stack: Stack, running: Any, tmp_path: Path) -> None:
    web = [
        part.replace("0.0.0.0", "127.0.0.1").replace("8000", stack.url.rpartition(":")[2])
        for part in command_of_image("webapp/Dockerfile")
    ]
    stack.run("setup", *stack.services["setup"]["command"])
    for name, command in (("web", web), *((name, stack.services[name]["command"]) for name in ("reaper", "cpu-worker"))):
        running(stack.program(name, *command), folder=stack.app)
    wait_until(lambda: answers(stack.url), what="web")
    visitor = Visitor(stack.run("web", "python", "manage.py", "sign_in_link"), csrf_cookie="nibble_csrf")

    ready = visitor.http.get("/readyz")
    assert ready.json()["parts"] == {"database": "ok", "migrations": "ok", "redis": "ok"}

    bundle = visitor.http.get("/worker/v1/bundle.tar.gz")
    assert bundle.is_success
    with tarfile.open(fileobj=BytesIO(bundle.content)) as packed:
        assert {"worker/agent/__main__.py", "worker/qlora/__main__.py", "worker/requirements.txt"} <= set(packed.getnames())

    running(worker_program(stack, tmp_path), folder=lay_out("worker/Dockerfile", stack.folder / "worker"))
    job = submit(visitor)
    wait_until(lambda: visitor.get(f"jobs/{job}")["status"] in ENDED, what="the job", seconds=60)
    read = visitor.get(f"jobs/{job}")
    assert (read["status"], read["failure"]) == ("succeeded", None)
    assert read["progress"]["step"] == 5

    adapter = visitor.get(f"adapters/{read['adapter']}")
    visitor.download(adapter["download_url"], to=tmp_path / "adapter.zip")
    assert (tmp_path / "adapter.zip").stat().st_size > adapter["size_bytes"]
    cursors = [event["cursor"] for event in visitor.get(f"jobs/{job}/events?limit=1000")["data"]]
    assert cursors == list(range(1, read["last_cursor"] + 1))


def worker_program(stack: Stack, tmp_path: Path) -> Program:
    """The GPU worker's container on this machine's CPU, with a scripted trainer and a model that is there already."""
    data = tmp_path / "worker"
    write_model(data / "models" / "smollm2-135m-instruct")
    code = "from webapp.pools.models import *; from webapp.pools.services import *; print(new_join_token(WorkerPool.objects.get(), by=None))"
    token = stack.run("web", "python", "manage.py", "shell", "-v0", "-c", code).splitlines()[-1]
    tests = stack.folder / "worker" / "tests"
    tests.mkdir(parents=True)
    (tests / "__init__.py").touch()
    shutil.copytree(ROOT / "tests" / "fake_trainer", tests / "fake_trainer")
    program = stack.program("gpu-worker", *command_of_image("worker/Dockerfile"), **QUICK, NIBBLE_WORKER_FOLDER=str(data))
    return replace(program, environment={**program.environment, "NIBBLE_JOIN_TOKEN": token})


def submit(visitor: Visitor) -> int:
    token = visitor.http.cookies["nibble_csrf"]
    upload = visitor.http.post("/api/v1/datasets", files={"file": ("rows.jsonl", ROWS)}, headers={"X-CSRFToken": token})
    assert upload.status_code == 201, upload.text
    body = {
        "name": "steps=5",
        "pool": "local",
        "base_model": visitor.get("models")["data"][0]["id"],
        "dataset_version": upload.json()["versions"][0]["id"],
        "training": {"max_steps": 5, "max_length": 32},
    }
    return int(visitor.post("jobs", body)["id"])


def test_the_configuration_used_here_is_the_files() -> None:
    """A guard for this file: a renamed variable must not quietly stop being replaced."""
    assert compose_config(SECRETS).returncode == 0
    dashboard = resolved()["services"]["web"]["environment"]
    assert {"DATABASE_URL", "REDIS_URL", "NIBBLE_WORKER_REDIS_URL", "NIBBLE_DATA", "NIBBLE_PUBLIC_URL", "SECRET_KEY"} <= set(
        dashboard
    )
    assert "NIBBLE_DASHBOARD_URL" in resolved()["services"]["gpu-worker"]["environment"]
