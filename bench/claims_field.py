"""The queue that bench/claims.py asks: workers with a GPU each, members in teams, jobs of all of them. Needs Django set up."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import close_old_connections

from tests.cast import SHAPE, meet_the_cast
from webapp.accounts.models import Team, User
from webapp.jobs.claims import claim_job
from webapp.jobs.finish import finish_attempt
from webapp.jobs.models import Attempt, Job, JobStatus, Priority
from webapp.pools.models import Gpu, Worker
from worker.contract.orders import Claim, Failed, Finish

GIB = 2**30
BATCH = 5000
PRIORITIES = (Priority.NORMAL, Priority.NORMAL, Priority.NORMAL, Priority.LOW, Priority.HIGH)
SPEC: dict[str, Any] = {
    "base_model": {"kind": "example", "name_or_path": "smollm2-135m-instruct"},
    "training": {"max_steps": 100, "per_device_train_batch_size": 4, "max_length": 512},
}
END = Failed(cause="bad_data", message="The measured job ends here.")


@dataclass(frozen=True)
class Field:
    workers: tuple[Worker, ...]
    pattern: Job
    owners: tuple[User, ...]

    @classmethod
    def with_jobs(cls, jobs: int, *, workers: int, teams: int, members: int) -> "Field":
        cast = meet_the_cast()
        cast.worker.delete()
        cast.base_model.shape = SHAPE
        field = cls(
            workers=tuple(_worker(cast.pool, number) for number in range(workers)),
            pattern=Job(
                pool=cast.pool, base_model=cast.base_model, dataset_version=cast.version, spec=SPEC, status=JobStatus.QUEUED
            ),
            owners=tuple(_owner(team, member) for team in _teams(teams) for member in range(members)),
        )
        now = datetime.now(UTC)
        for start in range(0, jobs, BATCH):
            rows = range(start, min(jobs, start + BATCH))
            Job.objects.bulk_create(field.job(queued_at=now - timedelta(seconds=jobs - number)) for number in rows)
        return field

    def job(self, *, queued_at: datetime) -> Job:
        owner = random.choice(self.owners)
        job = Job(name="measured", owner=owner, team=owner.team, queued_at=queued_at, priority=random.choice(PRIORITIES))
        for name in ("pool", "base_model", "dataset_version", "spec", "status"):
            setattr(job, name, getattr(self.pattern, name))
        job.memory_bytes = random.randrange(2, 60) * GIB
        return job

    def claim(self, worker: int) -> Attempt | None:
        """As the door does: the worker is read anew, and the connection given back."""
        try:
            return self._claim(worker)
        finally:
            close_old_connections()

    def _claim(self, worker: int) -> Attempt | None:
        asking = Worker.objects.select_related("pool").get(pk=self.workers[worker].pk)
        order = claim_job(asking, Claim(slot=0, free_memory_bytes=79 * GIB, gpu_index=0))
        return Attempt(pk=order.attempt_id, job_id=order.job_id, fence=order.fence) if order else None

    def end(self, attempt: Attempt) -> None:
        """The job fails for good, and another takes its place in the queue."""
        try:
            self._end(attempt)
        finally:
            close_old_connections()

    def _end(self, attempt: Attempt) -> None:
        held = Attempt.objects.select_related("job__dataset_version__dataset", "worker").get(pk=attempt.pk)
        finish_attempt(held, Finish(fence=attempt.fence, last_seq=0, end=END), publish=lambda **_: None)
        self.job(queued_at=datetime.now(UTC)).save(force_insert=True)

    def queued(self) -> int:
        return Job.objects.filter(status=JobStatus.QUEUED).count()


def _worker(pool: Any, number: int) -> Worker:
    now = datetime.now(UTC) + timedelta(hours=1)
    host = {"cpu_count": 8, "memory_total_bytes": 64 * GIB, "memory_used_bytes": GIB, "disk_free_bytes": 500 * GIB}
    worker = Worker.objects.create(
        pool=pool, name=f"box-{number}", token_hash=f"{number:064}", last_seen_at=now, host=host, protocol=2
    )
    about = {"memory_total_bytes": 80 * GIB, "memory_used_bytes": GIB, "foreign_used_bytes": 0}
    Gpu.objects.create(worker=worker, index=0, uuid=f"GPU-{number}", name="Measured", **about)
    return worker


def _teams(number: int) -> list[Team]:
    return [
        Team.objects.create(name=f"Team {n}", running_limit=32 if n % 2 else None, member_running_limit=8) for n in range(number)
    ]


def _owner(team: Team, number: int) -> User:
    return User.objects.create(email=f"{team.pk}-{number}@example.org", name=f"Member {number}", team=team, password="!")
