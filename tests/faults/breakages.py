"""The kinds of faults of a storm: each breaks a part by chance and says how it is mended.

A mend is asked again and again once its time has come, until it says that the part is whole.
"""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.faults.agents import Agent, events_file
from tests.faults.cluster import Cluster
from tests.faults.cut_proxy import CutProxy
from tests.programs import Program

Mend = Callable[[], bool]


@dataclass
class Breakage:
    kind: str
    part: str
    mend: Mend
    after: float = 0.0
    """Seconds until it may be mended."""
    began: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.began + self.after


@dataclass(frozen=True)
class Breaker:
    """Breaks `cluster`; `busy` are the parts that are broken now. None: nothing of the kind could be broken at the moment."""

    cluster: Cluster
    chance: random.Random
    busy: Callable[[str], bool]

    @property
    def lease(self) -> float:
        return self.cluster.clocks.lease

    def kill_trainer(self) -> Breakage | None:
        """Of a worker that may be broken otherwise as well."""
        trainers = [(agent, trainer) for agent in self._whole_agents() for trainer in agent.trainers()]
        if not trainers:
            return None
        agent, trainer = self.chance.choice(trainers)
        with suppress(psutil.NoSuchProcess):
            trainer.kill()
        return Breakage("kill -9 a trainer", f"trainer of {agent.name}", _at_once)

    def kill_slot(self) -> Breakage | None:
        agent = self._agent()
        if agent is None or not (slots := agent.slots()):
            return None
        with suppress(psutil.NoSuchProcess):
            self.chance.choice(slots).kill()
        return Breakage("kill -9 a slot", f"trainer of {agent.name}", _at_once)

    def kill_agent(self) -> Breakage | None:
        agent = self._agent()
        if agent is None:
            return None
        agent.kill()
        return Breakage("kill -9 an agent", agent.name, _begun(agent), after=self.chance.uniform(0, 2 * self.lease))

    def freeze_agent(self) -> Breakage | None:
        agent = self._agent()
        if agent is None:
            return None
        agent.freeze()
        return Breakage(
            "freeze an agent beyond its lease", agent.name, _thawed(agent), after=self.lease * self.chance.uniform(1.2, 2)
        )

    def drain_agent(self) -> Breakage | None:
        agent = self._agent()
        if agent is None:
            return None
        agent.process.terminate()
        return Breakage("SIGTERM to an agent", agent.name, lambda: not agent.is_running and _begun(agent)())

    def cut_short(self) -> Breakage | None:
        return self._cut("cut a cable for less than a lease", self.lease * self.chance.uniform(0.1, 0.6), _refuse)

    def cut_long(self) -> Breakage | None:
        return self._cut("cut a cable beyond the lease", self.lease * self.chance.uniform(1.5, 2.5), _refuse)

    def black_hole(self) -> Breakage | None:
        return self._cut("black-hole a cable", self.lease * self.chance.uniform(0.3, 1.5), _hold)

    def one_way(self) -> Breakage | None:
        return self._cut("lose a cable's replies", self.lease * self.chance.uniform(0.3, 1), _lose_replies)

    def kill_web(self) -> Breakage | None:
        return self._kill(self.cluster.web, "kill -9 the web")

    def kill_reaper(self) -> Breakage | None:
        return self._kill(self.cluster.reaper, "kill -9 the reaper")

    def restart_redis(self) -> Breakage | None:
        if self.busy("redis"):
            return None
        self.cluster.redis.stop()
        return Breakage("restart Redis, empty", "redis", self._redis_started, after=self.chance.uniform(0, 2))

    def empty_redis(self) -> Breakage | None:
        if self.busy("redis"):
            return None
        self.cluster.redis.empty()
        return Breakage("empty Redis", "redis", _at_once)

    def crash_postgres(self) -> Breakage | None:
        if self.busy("postgres"):
            return None
        self.cluster.postgres.stop(self.cluster.postgres.immediate_stop)
        return Breakage("crash PostgreSQL", "postgres", self._postgres_started, after=self.chance.uniform(0, 2))

    def tear_checkpoint(self) -> Breakage | None:
        """The newest checkpoint of a running job loses half of a file, and its trainer is killed."""
        for agent in self._whole_agents():
            for trainer in agent.trainers():
                with suppress(psutil.Error, OSError):
                    files = sorted(path for path in _run_of(trainer).glob("checkpoints/checkpoint-*/*") if path.is_file())
                    if files:
                        file = self.chance.choice(files)
                        trainer.suspend()  # so that the run does not end between the two
                        with file.open("r+b") as torn:
                            torn.truncate(file.stat().st_size // 2)
                        trainer.kill()
                        return Breakage("tear a checkpoint, kill its trainer", f"trainer of {agent.name}", _at_once)
        return None

    def repeat_batches(self) -> Breakage | None:
        """Lines that were stored before arrive again, out of order, beside those of the agent."""
        for agent in self._whole_agents():
            for trainer in agent.trainers():
                with suppress(psutil.Error, OSError, ValueError, httpx.HTTPError):
                    order = _order_of(trainer)
                    lines = events_file(_run_of(trainer))[:-1]
                    for first in self.chance.sample(range(1, len(lines) + 1), min(5, len(lines))):
                        body = {"fence": order["fence"], "first_seq": first, "events": lines[first - 1 :]}
                        agent.knock(f"attempts/{order['attempt_id']}/events", body, url=self.cluster.url)
                    return Breakage("repeat batches out of order", f"lines of {agent.name}", _at_once)
        return None

    def _agent(self) -> Agent | None:
        whole = self._whole_agents()
        return self.chance.choice(whole) if whole else None

    def _whole_agents(self) -> list[Agent]:
        return [agent for agent in self.cluster.agents if agent.is_running and not self.busy(agent.name)]

    def _cut(self, kind: str, seconds: float, how: Callable[[CutProxy], None]) -> Breakage | None:
        agent = self._agent()
        if agent is None:
            return None
        how(agent.cable)
        return Breakage(kind, agent.name, _mended(agent), after=seconds)

    def _kill(self, program: Program, kind: str) -> Breakage | None:
        if self.busy(program.name) or not program.is_running:
            return None
        program.kill()
        return Breakage(kind, program.name, _begun(program), after=self.chance.uniform(0, 1.5))

    def _redis_started(self) -> bool:
        self.cluster.redis.start()
        return True

    def _postgres_started(self) -> bool:
        self.cluster.postgres.start()
        return True


def _refuse(cable: CutProxy) -> None:
    cable.refuse()


def _hold(cable: CutProxy) -> None:
    cable.hold()


def _lose_replies(cable: CutProxy) -> None:
    cable.lose_replies()


def _at_once() -> bool:
    return True


def _begun(program: Program) -> Mend:
    """Started again; when it is ready is its own affair."""

    def mend() -> bool:
        program.begin()
        return True

    return mend


def _mended(agent: Agent) -> Mend:
    def mend() -> bool:
        agent.cable.mend()
        return True

    return mend


def _thawed(agent: Agent) -> Mend:
    def mend() -> bool:
        agent.thaw()
        return True

    return mend


def _run_of(trainer: psutil.Process) -> Path:
    return Path(trainer.cmdline()[-1])


def _order_of(trainer: psutil.Process) -> dict[str, Any]:
    order: dict[str, Any] = json.loads((_run_of(trainer) / "order.json").read_text())
    return order


KINDS = (
    "kill_trainer",
    "kill_slot",
    "kill_agent",
    "freeze_agent",
    "drain_agent",
    "cut_short",
    "cut_long",
    "black_hole",
    "one_way",
    "kill_web",
    "kill_reaper",
    "restart_redis",
    "empty_redis",
    "crash_postgres",
    "tear_checkpoint",
    "repeat_batches",
)
