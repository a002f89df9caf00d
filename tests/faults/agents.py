"""A worker machine of a test: a real agent with a data folder and a network cable of its own."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.faults.cut_proxy import CutProxy
from tests.programs import Program, command_of, environment_with, is_over, python
from tests.waiting import wait_until
from webapp.jobs.models import Job
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.services import new_join_token
from worker.agent import joining
from worker.agent.membership import Membership, load

TRAINERS = ("tests.fake_trainer", "worker.qlora")


class Agent(Program):
    """`python -m worker.agent run`, and what it started."""

    def __init__(self, data: Path, *, cable: CutProxy, membership: Membership, environment: Mapping[str, str]) -> None:
        command = python("-m", "worker.agent", "run", "--data", str(data))
        super().__init__(membership.name, command, environment=environment, log=data / "said.txt")
        self.data, self.cable, self.worker_id, self._token = data, cable, membership.worker_id, membership.worker_token
        self._frozen: list[psutil.Process] = []

    @property
    def worker(self) -> Worker:
        return Worker.objects.get(pk=self.worker_id)

    def trainers(self) -> list[psutil.Process]:
        """The trainer itself, not the wrapper that becomes it."""
        return [process for process in self.below() if any(f"-m {name} " in command_of(process) for name in TRAINERS)]

    def trainer(self, job: Job | None = None) -> psutil.Process:
        run = f"job-{job.pk}-" if job else ""
        return wait_until(
            lambda: [process for process in self.trainers() if run in command_of(process)],
            what=f"a trainer of {self.name}",
            alive=lambda: self.is_running,
        )[0]

    def slots(self) -> list[psutil.Process]:
        """The processes that claim and report."""
        trainers = set(self.trainers())
        return [process for process in self.below() if process not in trainers and not _is_below(process, trainers)]

    def run(self, job: Job, *, attempt: int = 1) -> Path:
        return self.data / "runs" / f"job-{job.pk}-attempt-{attempt}"

    def knock(self, path: str, body: Mapping[str, Any], *, url: str) -> httpx.Response:
        """As this worker, but beside its agent."""
        return httpx.post(f"{url}/worker/v1/{path}", json=body, headers={"Authorization": f"Bearer {self._token}"}, timeout=30)

    def freeze(self) -> None:
        """The whole agent stands still; the trainer goes on."""
        self._is_frozen = True
        self._frozen = [psutil.Process(self.process.pid), *self.slots()]
        for process in self._frozen:
            process.suspend()

    def thaw(self) -> None:
        self._is_frozen = False
        for process in reversed(self._frozen):
            if not is_over(process):
                process.resume()

    def close(self) -> None:
        try:
            self.cable.mend()
            self.stop()
        finally:
            self.cable.close()


def join(data: Path, *, pool: WorkerPool, cable: CutProxy, environment: Mapping[str, str], slots: int = 1) -> Agent:
    """As `worker.agent join` does, without its process."""
    token = new_join_token(pool, by=None)
    membership = joining.join(cable.url, token=token, data=data, name=data.name, slots=slots)
    return Agent(data, cable=cable, membership=membership, environment=environment_with(**environment))


def join_as(release: Path, data: Path, *, pool: WorkerPool, cable: CutProxy, environment: Mapping[str, str]) -> Agent:
    """By the command of another release, whose code lies in this folder; it runs from there too."""
    ours = environment_with(**environment, PYTHONPATH=str(release))
    command = python("-m", "worker.agent", "join", cable.url, "--token", new_join_token(pool, by=None))
    subprocess.run([*command, "--data", str(data), "--name", data.name, "--slots", "1"], cwd=release, env=ours, check=True)
    agent = Agent(data, cable=cable, membership=load(data), environment=ours)
    agent.folder = release  # `python -m` looks there first
    return agent


def events_file(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_bytes().splitlines()]


def _is_below(process: psutil.Process, parents: set[psutil.Process]) -> bool:
    try:
        return any(parent in parents for parent in process.parents())
    except psutil.Error:
        return True
