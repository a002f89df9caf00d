"""Brings everything up on one machine: Redis, the dashboard, then what works behind it."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from webapp.launcher import programs
from webapp.launcher.joining import join_local_worker
from webapp.launcher.local_redis import local_redis, redis_answers, redis_program
from webapp.launcher.ports import address_of
from webapp.launcher.refusals import CannotStart
from webapp.launcher.supervisor import Supervisor

UP_SECONDS = 60.0


@dataclass(frozen=True)
class Machine:
    data: Path
    host: str
    port: int
    with_worker: bool

    @property
    def address(self) -> str:
        return address_of(self.host, self.port)

    @property
    def worker_folder(self) -> Path:
        return self.data / "worker"

    def bring_up(self, supervisor: Supervisor) -> dict[str, str]:
        """Returns, once the dashboard answers, the environment that its programs run in."""
        environment = programs.child_environment(data=self.data, redis_url=self._redis(supervisor), host=self.host)
        supervisor.start(programs.web(host=self.host, port=self.port, environment=environment))
        if not supervisor.watch(self.answers, seconds=UP_SECONDS):
            raise CannotStart(f"The dashboard did not answer within {UP_SECONDS:g} s. Its log: {supervisor.logs / 'web.log'}")
        supervisor.start(programs.reaper(environment))
        supervisor.start(programs.cpu_worker(environment))
        if self.with_worker:
            join_local_worker(folder=self.worker_folder, address=self.address, environment=environment)
            supervisor.start(programs.local_worker(folder=self.worker_folder, address=self.address, environment=environment))
        return environment

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/healthz", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _redis(self, supervisor: Supervisor) -> str:
        given = os.environ.get("REDIS_URL", "")
        if given:
            if not redis_answers(given):
                raise CannotStart("REDIS_URL is set, and nothing answers there. Start that Redis, or unset REDIS_URL to get one.")
            return given
        server = local_redis(self.data / "redis")
        supervisor.start(redis_program(server, folder=self.data / "redis"))
        if not supervisor.watch(lambda: server.answers, seconds=UP_SECONDS):
            raise CannotStart(f"Redis did not answer. Its log: {supervisor.logs / 'redis.log'}")
        return server.url
