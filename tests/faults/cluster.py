"""A whole Nibble for tests of faults: database, Redis, web, reaper and any number of worker machines, on short clocks.

Every part can be killed, frozen, cut off and started again. This process reads and writes the same database.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from tests.cast import Cast
from tests.dashboards import cast_with_files, last_words, reaper_program, ringing_through, web_program
from tests.databases import Databases, database_at
from tests.faults.agents import Agent, join, join_as
from tests.faults.cut_proxy import CutProxy
from tests.programs import Program, environment_with
from tests.servers import PostgresServer, RedisServer, free_port, running
from tests.waiting import wait_until
from tests.worker.agent.tiny_model import write_model
from webapp.accounts.models import User
from webapp.jobs.models import ENDED_JOB, Attempt, Job, JobEvent
from webapp.jobs.services import submit_job
from webapp.pools.models import WorkerPool
from webapp.pools.services import create_pool
from worker.contract.spec import FinetuneSpec

Answer = TypeVar("Answer")
FOLDERS = {"DATASETS_DIR": "datasets", "ADAPTERS_DIR": "adapters", "INCOMING_DIR": "incoming", "CHECKPOINTS_DIR": "checkpoints"}


@dataclass(frozen=True)
class Clocks:
    """A real lease is 30 s, with a heartbeat every 5 s and a pass of the reaper every 5 s: about these proportions, faster."""

    lease: float = 2.0
    heartbeat: float = 0.4
    reaper: float = 0.3
    poll: float = 0.4
    retry: float = 0.3
    """Before the first retry."""

    def of_the_dashboard(self) -> dict[str, str]:
        return {
            "NIBBLE_LEASE_SECONDS": f"{self.lease:g}",
            "NIBBLE_REAPER_SECONDS": f"{self.reaper:g}",
            "NIBBLE_RETRY_SECONDS": f"{self.retry:g}",
        }

    def of_agents(self) -> dict[str, str]:
        return {
            "NIBBLE_HEARTBEAT_SECONDS": f"{self.heartbeat:g}",
            "NIBBLE_BATCH_SECONDS": "0.1",
            "NIBBLE_POLL_SECONDS": f"{self.poll:g}",
        }


@dataclass
class Cluster:
    folder: Path
    kind: str
    clocks: Clocks
    databases: Databases
    redis: RedisServer
    web: Program
    reaper: Program
    url: str
    cast: Cast
    waiting: set[int] = field(default_factory=set)
    """Jobs that a test leaves queued or paused on purpose."""
    reported: set[str] = field(default_factory=set)
    """Broken promises that failed a test already."""
    agents: list[Agent] = field(default_factory=list)

    @property
    def postgres(self) -> PostgresServer:
        assert self.kind == "postgres"
        return self.databases.postgres

    # ----- doing

    def submit(self, name: str, *, pool: WorkerPool | None = None, by: User | None = None, **blocks: dict[str, Any]) -> Job:
        """`name` is the fake trainer's script; `blocks` are those of the spec."""
        connection.close()
        return submit_job(
            user=by or self.cast.alice,
            name=name,
            pool=pool or self.cast.pool,
            base_model=self.cast.base_model,
            dataset_version=self.cast.version,
            spec=self.spec(blocks),
        )

    def spec(self, blocks: dict[str, dict[str, Any]]) -> FinetuneSpec:
        reference = {"kind": self.cast.base_model.source, "name_or_path": self.cast.base_model.name_or_path}
        return FinetuneSpec.model_validate({"base_model": reference, "training": {"max_steps": 5}, **blocks})

    def new_pool(self, name: str, **fields: Any) -> WorkerPool:
        connection.close()
        pool = create_pool(name=name, description="")
        WorkerPool.objects.filter(pk=pool.pk).update(**fields)
        return pool

    def agent(self, name: str, *, pool: WorkerPool, slots: int = 1, **environment: str) -> Agent:
        """Joined and running until the test is over."""
        agent = self.join(name, pool=pool, slots=slots, environment=environment)
        agent.start()
        return agent

    def join(
        self,
        name: str,
        *,
        pool: WorkerPool,
        slots: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> Agent:
        data, cable, ours = self._place_of(name, pool)
        self.agents.append(join(data, pool=pool, cable=cable, environment={**ours, **(environment or {})}, slots=slots))
        return self.agents[-1]

    def join_as(self, release: Path, name: str, *, pool: WorkerPool) -> Agent:
        data, cable, ours = self._place_of(name, pool)
        self.agents.append(join_as(release, data, pool=pool, cable=cable, environment=ours))
        return self.agents[-1]

    def _place_of(self, name: str, pool: WorkerPool) -> tuple[Path, CutProxy, dict[str, str]]:
        data = self.folder / "workers" / pool.name / name
        cable = CutProxy(int(self.url.rpartition(":")[2]))
        return data, cable, {"NIBBLE_TRAINER_MODULE": "tests.fake_trainer", **self.clocks.of_agents()}

    def clear_away(self) -> None:
        """Ends the agents of a test; what it left unended bothers no later one."""
        connection.close()
        for agent in self.agents:
            if agent.is_running:
                agent.close()
        self.waiting |= set(Job.objects.exclude(status__in=ENDED_JOB).values_list("pk", flat=True))

    # ----- seeing

    def ask(self, question: Callable[[], Answer]) -> Answer | None:
        """None while the database is away."""
        try:
            return question()
        except (OperationalError, InterfaceError):
            connection.close()
            return None

    def until(self, question: Callable[[], Answer], *, what: str, seconds: float = 90) -> Answer:
        found = wait_until(lambda: self.ask(question), what=what, seconds=seconds)
        assert found is not None
        return found

    def wait_for(self, job: Job, *statuses: str, seconds: float = 90) -> Job:
        self.until(lambda: self.status(job) in (statuses or ENDED_JOB), what=f"job {job.pk} {statuses}", seconds=seconds)
        job.refresh_from_db()
        return job

    def wait_for_step(self, job: Job, step: int, *, attempt: int | None = None) -> None:
        told = JobEvent.objects.filter(job=job, kind="metrics", data__step=step)
        rows = told.filter(attempt__number=attempt) if attempt else told
        self.until(rows.exists, what=f"step {step} of job {job.pk}")

    def status(self, job: Job) -> str:
        return Job.objects.values_list("status", flat=True).get(pk=job.pk)

    def attempts(self, job: Job) -> list[Attempt]:
        return list(Attempt.objects.filter(job=job).order_by("number"))

    def statuses(self, job: Job) -> list[str]:
        return [attempt.status for attempt in self.attempts(job)]

    def steps(self, job: Job, *, attempt: int | None = None) -> list[int]:
        """As they were told, in the order of cursors."""
        told = JobEvent.objects.filter(job=job, kind="metrics").order_by("cursor")
        rows = told.filter(attempt__number=attempt) if attempt else told
        return [data["step"] for data in rows.values_list("data", flat=True)]

    def programs(self) -> list[Program]:
        return [self.web, self.reaper, *self.agents]


@contextmanager
def running_cluster(
    folder: Path,
    *,
    databases: Databases,
    kind: str = "sqlite",
    clocks: Clocks | None = None,
    rings: bool = False,
    **settings_of_web: str,
) -> Iterator[Cluster]:
    """With `rings` the agents listen to Redis through Celery; otherwise they ask every moment, and start faster."""
    clocks, url = clocks or Clocks(), f"http://127.0.0.1:{free_port()}"
    (folder / "redis").mkdir(parents=True)
    redis = RedisServer(folder / "redis", password="for tests only")
    database = databases.fresh(kind, folder)
    environment = environment_with(
        DJANGO_SETTINGS_MODULE="webapp.settings",
        SECRET_KEY=settings.SECRET_KEY,
        NIBBLE_DATA=str(folder),
        DATABASE_URL=database,
        REDIS_URL=redis.url,
        NIBBLE_WORKER_REDIS_URL=redis.url if rings else "",
        **clocks.of_the_dashboard(),
        **settings_of_web,
    )
    web = web_program(url, environment=environment, log=folder / "web.log")
    reaper = reaper_program(environment=environment, log=folder / "reaper.log")
    with ExitStack() as stack:
        stack.enter_context(running(redis))
        for program in (web, reaper):
            stack.callback(program.stop)
            program.begin()
        stack.enter_context(database_at(database))
        stack.enter_context(_folders_in(folder))
        stack.enter_context(ringing_through(redis.url))
        cast = cast_with_files(folder, model=write_model(folder / "tiny"))
        stack.enter_context(last_words(web, reaper))
        web.wait_ready()
        yield Cluster(folder, kind, clocks, databases, redis, web, reaper, url, cast)


@contextmanager
def _folders_in(folder: Path) -> Iterator[None]:
    """This process finds adapters and checkpoints where the cluster's web puts them."""
    kept = {name: getattr(settings, name, None) for name in FOLDERS}
    for name, place in FOLDERS.items():
        setattr(settings, name, folder / place)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(settings, name, value)
