"""A real dashboard for the agent's tests: web server, reaper, Redis with a password, SQLite file; and real agents beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.cast import Cast
from tests.dashboards import cast_with_files, last_words, reaper_program, ringing_through, web_program
from tests.databases import database_at
from tests.programs import Program, python
from tests.servers import free_port, redis_server
from tests.waiting import wait_until
from webapp.jobs.models import Job, JobEvent, JobStatus
from webapp.jobs.services import submit_job
from webapp.pools.models import WorkerPool
from webapp.pools.services import create_pool, new_join_token
from worker.contract.spec import FinetuneSpec

ROOT = Path(__file__).resolve().parents[3]
QUICK = {
    "NIBBLE_HEARTBEAT_SECONDS": "0.5",
    "NIBBLE_BATCH_SECONDS": "0.1",
    "NIBBLE_POLL_SECONDS": "0.5",
    "NIBBLE_TRAINER_MODULE": "tests.fake_trainer",
}


class Agent(Program):
    """A host's supervisor, as started by hand."""

    def __init__(self, data: Path, **environment: str) -> None:
        command = python("-m", "worker.agent", "run", "--data", str(data))
        super().__init__(data.name, command, environment={**os.environ, **QUICK, **environment}, log=data / "said.txt")
        self.data = data

    def trainer(self) -> psutil.Process:
        return wait_until(lambda: self.below("tests.fake_trainer"), what="a trainer")[0]


@dataclass
class Dashboard:
    url: str
    environment: dict[str, str]
    cast: Cast
    folder: Path
    redis: ExitStack
    """Closed: the Redis is gone."""
    web: Program

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
    agent = Agent(data, **environment)
    agent.start()
    try:
        with last_words(agent):
            yield agent
    finally:
        agent.stop()


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
        web = web_program(url, environment=env, log=folder / "web.log")
        reaper = reaper_program(environment=env, log=folder / "reaper.log")
        for program in (reaper, web):
            programs.callback(program.stop)
            program.begin()
        with last_words(web, reaper), database_at(f"sqlite://{folder / 'nibble.sqlite3'}"), ringing_through(env["REDIS_URL"]):
            web.wait_ready()
            yield Dashboard(url, env, cast_with_files(folder, model=model), folder, redis, web)


ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
