"""A real dashboard for the agent's tests: web server, reaper, Redis with a password, SQLite file; and real agents beside it."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.db import connections

from tests.cast import Cast, meet_the_cast
from tests.servers import free_port, redis_server
from tests.waiting import wait_until
from webapp.celeryapp import app as celery
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job, JobEvent, JobStatus
from webapp.jobs.services import submit_job
from webapp.pools.models import WorkerPool
from webapp.pools.services import create_pool, new_join_token
from worker.contract.spec import FinetuneSpec

ROOT = Path(__file__).resolve().parents[3]
ROWS = b"".join(
    b'{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "ok"}]}\n' % n for n in range(40)
)
QUICK = {
    "NIBBLE_HEARTBEAT_SECONDS": "0.5",
    "NIBBLE_BATCH_SECONDS": "0.1",
    "NIBBLE_POLL_SECONDS": "0.5",
    "NIBBLE_TRAINER_MODULE": "tests.fake_trainer",
}


@dataclass
class Agent:
    """A host's supervisor, as started by hand."""

    data: Path
    process: "subprocess.Popen[bytes]"

    @property
    def said(self) -> str:
        return (self.data / "said.txt").read_text(errors="replace")

    def below(self, *words: str) -> list[psutil.Process]:
        """Processes below the supervisor whose command line has all the words."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in found if all(word in _command(process) for word in words)]

    def trainer(self) -> psutil.Process:
        return wait_until(lambda: self.below("tests.fake_trainer"), what="a trainer")[0]


@dataclass
class Web:
    """The web server, which can be stopped and started at the same address."""

    url: str
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", self.url.rpartition(":")[2]]
        with self.log.open("ab") as out:
            command += ["--no-access-log", "--log-level", "warning"]
            self.process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        wait_until(lambda: _answers(self.url), what="the web server")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


@dataclass
class Dashboard:
    url: str
    environment: dict[str, str]
    cast: Cast
    folder: Path
    redis: ExitStack
    """Closed: the Redis is gone."""
    web: "Web"

    def submit(self, name: str, *, pool: WorkerPool | None = None) -> Job:
        reference = {"kind": self.cast.base_model.source, "name_or_path": self.cast.base_model.name_or_path}
        spec = FinetuneSpec.model_validate({"base_model": reference, "training": {"max_steps": 5}})
        return submit_job(
            user=self.cast.alice,
            name=name,
            pool=pool or self.cast.pool,
            base_model=self.cast.base_model,
            dataset_version=self.cast.version,
            spec=spec,
        )

    def wait_for(self, job: Job, *statuses: str, seconds: float = 60) -> Job:
        def there() -> bool:
            job.refresh_from_db()
            return job.status in statuses

        wait_until(there, what=f"job {job.pk} {statuses}", seconds=seconds)
        return job

    def wait_for_step(self, job: Job, step: int) -> None:
        wait_until(lambda: JobEvent.objects.filter(job=job, kind="metrics", data__step=step).exists(), what=f"step {step}")

    def knock(self, path: str, *, token: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return httpx.post(f"{self.url}/worker/v1/{path}", json=body, headers={"Authorization": f"Bearer {token}"})

    def at(self, url: str) -> "Dashboard":
        """The same, as if it lay at another address."""
        return replace(self, url=url)

    def new_pool(self, name: str) -> WorkerPool:
        return create_pool(name=name, description="")

    def join(self, data: Path, *options: str, pool: WorkerPool, token: str = "") -> "subprocess.CompletedProcess[str]":
        token = token or new_join_token(pool, by=self.cast.ada)
        command = [sys.executable, "-m", "worker.agent", "join", self.url, "--token", token, "--data", str(data), *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    @contextmanager
    def agent(self, data: Path, **environment: str) -> Iterator[Agent]:
        with running_agent(data, **environment) as agent:
            yield agent

    @contextmanager
    def worker(self, data: Path, *options: str, pool: WorkerPool, **environment: str) -> Iterator[Agent]:
        """Joined and running."""
        joined = self.join(data, *options, pool=pool)
        assert joined.returncode == 0, joined.stderr
        with self.agent(data, **environment) as agent:
            yield agent


@contextmanager
def running_agent(data: Path, **environment: str) -> Iterator[Agent]:
    command = [sys.executable, "-m", "worker.agent", "run", "--data", str(data)]
    env = {**os.environ, **QUICK, **environment}
    with (data / "said.txt").open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
    agent = Agent(data, process)
    try:
        yield agent
    except BaseException:
        sys.stderr.write(f"\n--- {data}\n{agent.said[-4000:]}")
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextmanager
def running_dashboard(folder: Path, *, model: Path, lease_seconds: float) -> Iterator[Dashboard]:
    """With the cast in its database; models of the cast are folders, so that nothing has to be made."""
    with ExitStack() as redis, ExitStack() as programs:
        url = f"http://127.0.0.1:{free_port()}"
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "NIBBLE_DATA": str(folder),
            "REDIS_URL": redis.enter_context(redis_server(password="for tests only")),
            "NIBBLE_LEASE_SECONDS": str(lease_seconds),
            "NIBBLE_REAPER_SECONDS": "0.3",
            "NIBBLE_RETRY_SECONDS": "0.2",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, cwd=ROOT, check=True)
        programs.enter_context(_program([sys.executable, "manage.py", "reaper"], env, folder / "reaper.log"))
        web = Web(url, env, folder / "web.log")
        programs.callback(web.stop)
        web.start()
        with database_of(folder), ringing_through(env["REDIS_URL"]):
            yield Dashboard(url, env, _cast_with_files(folder, model), folder, redis, web)


@contextmanager
def ringing_through(url: str) -> Iterator[None]:
    """A submit of this process rings the dashboard's own Redis."""
    kept = celery.conf.broker_url
    try:
        _ring_at(url)
        yield
    finally:
        _ring_at(kept)


def _ring_at(url: str) -> None:
    celery.conf.broker_url = url
    celery._after_fork()  # forgets its connections, as in a new process


@contextmanager
def database_of(folder: Path) -> Iterator[None]:
    """This process reads and writes the dashboard's own SQLite file for a while."""
    wrapper = connections["default"]
    kept, name = wrapper.connection, wrapper.settings_dict["NAME"]
    wrapper.connection, wrapper.settings_dict["NAME"] = None, str(folder / "nibble.sqlite3")
    try:
        yield
    finally:
        wrapper.close()
        wrapper.connection, wrapper.settings_dict["NAME"] = kept, name


def _cast_with_files(folder: Path, model: Path) -> Cast:
    cast = meet_the_cast()
    digest = hashlib.sha256(ROWS).hexdigest()
    file = folder / "datasets" / digest[:2] / digest
    file.parent.mkdir(parents=True)
    file.write_bytes(ROWS)
    DatasetVersion.objects.filter(pk=cast.version.pk).update(sha256=digest, size_bytes=len(ROWS), rows=40)
    cast.base_model.source, cast.base_model.name_or_path = "folder", str(model)
    cast.base_model.save()
    cast.version.refresh_from_db()
    return cast


@contextmanager
def _program(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        sys.stderr.write(f"\n--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/worker/v1/join.sh", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def is_over(process: psutil.Process) -> bool:
    """An orphan stays a zombie until this machine's first process gets round to it; it runs no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
