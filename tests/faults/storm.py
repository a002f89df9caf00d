"""A storm: many jobs, some cancelled on the way, while parts break by chance and are mended again. Then all is counted."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.breakages import KINDS, Breakage, Breaker
from tests.faults.cluster import Cluster
from tests.faults.visitors import job_body, visitor
from tests.waiting import wait_until
from webapp.jobs.models import ENDED_JOB, Job
from webapp.pools.models import WorkerPool

SHARES = (("plain", 0.86), ("fails", 0.06), ("cancelled", 0.08))
ENDS = {"plain": {"succeeded"}, "fails": {"failed"}, "cancelled": {"cancelled", "succeeded"}}


@dataclass(frozen=True)
class Plan:
    seed: int
    jobs: int
    agents: int
    faults: int
    seconds: float
    """No new fault after this; a job that is not done twice as late is lost."""
    steps: tuple[int, int] = (60, 160)
    step_ms: int = 40
    kinds: tuple[str, ...] = KINDS


@dataclass
class Storm:
    cluster: Cluster
    plan: Plan
    pool: WorkerPool
    expected: dict[int, str] = field(default_factory=dict)
    """What was asked for, by job: plain, fails or cancelled."""
    struck: Counter[str] = field(default_factory=Counter)
    broken: list[Breakage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def rage(self) -> None:
        chance = random.Random(self.plan.seed)
        names = [script(chance, self.plan, number) for number in range(self.plan.jobs)]
        for number in range(self.plan.agents):
            self.cluster.join(f"w{number}", pool=self.pool).begin()
        with ThreadPoolExecutor(2) as people:
            submitting = people.submit(self._submit_all, names)
            cancelling = people.submit(self._cancel_some, random.Random(self.plan.seed + 1), submitting)
            self._break_things(random.Random(self.plan.seed + 2))
            self._mend_all()
            submitting.result()
            cancelling.result()
        self._wait_for_the_end()

    def _break_things(self, chance: random.Random) -> None:
        """One after another with pauses; several may be broken at once."""
        breaker = Breaker(self.cluster, chance, self._is_broken)
        pause = self.plan.seconds / self.plan.faults
        kinds: list[str] = []
        while sum(self.struck.values()) < self.plan.faults and self.seconds < self.plan.seconds:
            kinds = kinds or chance.sample(self.plan.kinds, len(self.plan.kinds))  # each kind before any comes again
            found = getattr(breaker, kinds.pop())()
            if found is not None:
                self.struck[found.kind] += 1
                self.broken.append(found)
            until = time.monotonic() + (chance.uniform(0.2, 1.2) * pause if found else 0.1)
            while time.monotonic() < until:
                self._mend_due()
                time.sleep(0.05)

    def _is_broken(self, part: str) -> bool:
        return any(breakage.part == part for breakage in self.broken)

    def _mend_due(self) -> bool:
        """True when nothing is broken any more."""
        self.broken = [breakage for breakage in self.broken if not (breakage.is_due and breakage.mend())]
        return not self.broken

    def _mend_all(self) -> None:
        wait_until(self._mend_due, what="everything is mended", seconds=60)

    def _wait_for_the_end(self) -> None:
        deadline = time.monotonic() + self.plan.seconds
        while time.monotonic() < deadline:
            left = self.cluster.ask(lambda: Job.objects.filter(pool=self.pool).exclude(status__in=ENDED_JOB).count())
            if left == 0:
                return
            time.sleep(0.2)

    # ----- people

    def _submit_all(self, names: list[tuple[str, str]]) -> None:
        with visitor(self.cluster) as alice:
            for kind, name in names:
                self.expected[submit_until_taken(alice, job_body(self.cluster, name, pool=self.pool.name))] = kind

    def _cancel_some(self, chance: random.Random, submitting: Any) -> None:
        """Each at some moment of its life: waiting, running, or over already."""
        cancelled: set[int] = set()
        with visitor(self.cluster) as alice:
            while not submitting.done() or set(self._to_cancel()) - cancelled:
                for job in sorted(set(self._to_cancel()) - cancelled):
                    time.sleep(chance.uniform(0.1, 1.5))
                    if cancel_until_answered(alice, job, save=chance.random() < 0.5):
                        cancelled.add(job)
                threading.Event().wait(0.2)

    def _to_cancel(self) -> list[int]:
        return [job for job, kind in list(self.expected.items()) if kind == "cancelled"]


def script(chance: random.Random, plan: Plan, number: int) -> tuple[str, str]:
    """What a job is to become, and the fake trainer's script for it."""
    kind = chance.choices([name for name, _ in SHARES], [share for _, share in SHARES])[0]
    steps = chance.randint(*plan.steps)
    words = f"steps={steps} step_ms={plan.step_ms} save={chance.randint(10, 30)}"
    return kind, f"{words} fail=diverged@{chance.randint(1, steps)} #{number}" if kind == "fails" else f"{words} #{number}"


def submit_until_taken(client: httpx.Client, body: dict[str, Any]) -> int:
    """Whatever goes wrong, the same key is sent again: the job exists once."""
    while True:
        try:
            reply = client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": body["name"]})
            if reply.status_code in (200, 201):
                return int(reply.json()["id"])
            if reply.status_code not in (500, 503):
                raise AssertionError(f"{reply.status_code} {reply.text[:300]}")
        except httpx.HTTPError:
            pass
        time.sleep(0.3)


def cancel_until_answered(client: httpx.Client, job: int, *, save: bool) -> bool:
    """True once the dashboard has said yes, or that it is too late."""
    try:
        return client.post(f"/api/v1/jobs/{job}/cancel", json={"save": save}).status_code in (200, 409)
    except httpx.HTTPError:
        return False
