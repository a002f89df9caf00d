"""The one command that an administrator pastes: it sets a machine up, joins it and starts it; and models that it looks at."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.dashboard import QUICK, Dashboard
from tests.worker.agent.tiny_model import write_model
from webapp.catalog.models import BaseModel
from webapp.catalog.services import add_model
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.selectors import join_command
from webapp.pools.services import new_join_token

LEASE_SECONDS = 120


@contextmanager
def pasted(command: str, log: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs it in a shell, as at a terminal, in a home of its own."""
    env = {**os.environ, **QUICK, "HOME": str(log.parent), **environment}
    with log.open("wb") as out:
        process = subprocess.Popen(["sh", "-c", command], cwd="/", env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text()[-3000:])
        raise
    finally:
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        wait_until(lambda: all(is_over(each) for each in below), what="the end of all that it started")


def refusal_of(command: str, folder: Path, **environment: str) -> str:
    folder.mkdir(exist_ok=True)
    with pasted(command, folder / "log", **environment) as process:
        assert process.wait(30) != 0
    return (folder / "log").read_text().strip()


def test_the_pasted_command_joins_and_starts(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """With the interpreter at hand: installing torch anew would take minutes."""
    command = join_command(dashboard.url, new_join_token(pool, by=dashboard.cast.ada))
    assert command.endswith("--data ~/nibble-worker")
    # The bundle has no tests, so the scripted trainer comes from the checkout.
    fake = {"PYTHONPATH": str(Path.cwd())}
    with pasted(f"{command} --name gpu-1 --python {shlex.quote(sys.executable)}", tmp_path / "log", **fake) as process:
        job = dashboard.submit("steps=2", pool=pool)
        wait_until(lambda: job.refresh_from_db() or job.is_ended, what="the job", alive=lambda: process.poll() is None)
        assert job.status == "succeeded"
        assert Worker.objects.get(pool=pool).name == "gpu-1"
        said = (tmp_path / "log").read_text()
        assert f"Joined pool {pool.name}" in said
    data = tmp_path / "nibble-worker"
    assert (data / "code" / "worker" / "agent" / "__main__.py").is_file()
    again = refusal_of(f"{command} --python {shlex.quote(sys.executable)}", tmp_path / "again", HOME=str(tmp_path))
    assert again == f"{data} has joined already. Start it with {data}/start, or add --again to join anew."
    with pasted(str(data / "start"), tmp_path / "log-2", **fake):
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "Give the join token"),
        ("--token nbj_x", "Give a folder for the worker"),
        ("--token", "--token needs a value."),
        ("--token nbj_x --data DIR --gpu", "Unknown option --gpu"),
        ("--token nbj_x --data DIR --python /nowhere/python", "There is no Python at /nowhere/python."),
        ("--token nbj_x --data DIR --python PYTHON", "This join token is wrong."),
    ],
)
def test_a_wrong_command_gets_one_sentence(dashboard: Dashboard, tmp_path: Path, arguments: str, words: str) -> None:
    arguments = arguments.replace("DIR", str(tmp_path / "w")).replace("PYTHON", sys.executable)
    said = refusal_of(f"curl -fsS {dashboard.url}/worker/v1/join.sh | sh -s -- {arguments}", tmp_path)
    assert words in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "w" / "worker.json").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("#!/bin/sh\ncase $1 in --version) echo Python 3.9.2;; *) exit 1;; esac\n", "Python 3.9.2 is too old."),
        (
            f'#!/bin/sh\ncase $2 in *ensurepip*) exit 1;; *) exec "{sys.executable}" "$@";; esac\n',
            "Python's venv module is missing.",
        ),
    ],
    ids=["old", "without venv"],
)
def test_a_python_of_no_use_gets_one_sentence(dashboard: Dashboard, tmp_path: Path, program: str, words: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text(program)
    (programs / "python3").chmod(0o755)
    command = f"curl -fsS {dashboard.url}/worker/v1/join.sh | sh -s -- --token nbj_x --data {tmp_path / 'w'}"
    assert words in refusal_of(command, tmp_path, PATH=f"{programs}:{os.environ['PATH']}").splitlines()[-1]


def test_two_machines_with_one_token_become_one_worker(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    token = new_join_token(pool, by=None)
    with ThreadPoolExecutor(3) as threads:
        joins = list(threads.map(lambda n: dashboard.join(tmp_path / str(n), pool=pool, token=token), range(3)))
    assert sorted(join.returncode for join in joins) == [0, 1, 1]
    assert Worker.objects.filter(pool=pool).count() == 1


def test_a_worker_looks_at_models(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    good = add_model(name="Good", source="folder", name_or_path=str(write_model(tmp_path / "good")))
    late = add_model(name="Late", source="folder", name_or_path=str(tmp_path / "late"))

    def state(model: BaseModel) -> str:
        model.refresh_from_db()
        return model.state

    with dashboard.worker(tmp_path / "w", pool=pool):
        wait_until(lambda: state(good) == "ready" and state(late) == "broken", what="both reports")
        assert good.shape["parameters"] == 744
        assert late.problem.endswith(f"There is no folder {tmp_path / 'late'} on this worker.")
        write_model(tmp_path / "late")
        wait_until(lambda: state(late) == "ready", what="the folder that came later")
