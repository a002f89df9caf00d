"""The moments at which a submit or an adapter is half done: each happens once, or not at all and then again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.faults.cluster import Clocks, Cluster
from tests.faults.digests import published_digest, undisturbed_digest
from tests.faults.storm import submit_until_taken
from tests.faults.visitors import job_body, visitor
from tests.waiting import wait_until
from webapp.adapters.models import Adapter
from webapp.jobs.models import Job
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=6)


def test_f04_the_web_is_killed_during_submits(cluster: Cluster, pool: WorkerPool) -> None:
    """Forty submits with keys, asked again until they are answered, while the web is killed five times: forty jobs."""
    taken = threading.Semaphore(0)

    def submit(number: int) -> int:
        with visitor(cluster) as alice:
            job = submit_until_taken(alice, job_body(cluster, f"steps=1 #{number}", pool=pool.name))
        taken.release()
        return job

    jobs_before = Job.objects.count()
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(submit, number) for number in range(40)]
        for _ in range(5):
            for _ in range(4):
                taken.acquire()
            cluster.web.kill()
            cluster.web.start()
        jobs = [answer.result() for answer in answers]
    assert len(set(jobs)) == 40
    assert Job.objects.count() == jobs_before + 40
    assert set(Job.objects.filter(pool=pool).values_list("pk", flat=True)) == set(jobs)
    cluster.waiting |= set(jobs)


def test_f04_a_key_says_the_same_or_nothing(cluster: Cluster, pool: WorkerPool) -> None:
    """The same key with the same body is the same job; with another body it is refused. Twenty at once are one job."""
    body, key = job_body(cluster, "once", pool=pool.name), {"Idempotency-Key": "key-1"}

    def post(_: int) -> httpx.Response:
        with visitor(cluster) as alice:
            return alice.post("/api/v1/jobs", json=body, headers=key)

    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(post, range(20)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    (job,) = {answer.json()["id"] for answer in answers}
    with visitor(cluster) as alice:
        other = alice.post("/api/v1/jobs", json={**body, "name": "twice"}, headers=key)
    assert other.status_code == 422
    assert Job.objects.filter(pool=pool).count() == 1
    cluster.waiting.add(job)


@pytest.fixture
def failing(cluster: Cluster) -> Any:
    """The web with a failpoint, for one test."""
    usual = list(cluster.web.command)
    cluster.web.stop()
    cluster.web.command[cluster.web.command.index("webapp.asgi:application")] = "tests.faults.failing_web:application"
    cluster.web.start()
    yield cluster.folder / "failpoint"
    cluster.web.stop()
    cluster.web.command[:] = usual
    cluster.web.start()


def test_f37_the_web_dies_between_an_adapters_files_and_its_row(cluster: Cluster, pool: WorkerPool, failing: Any) -> None:
    """The files lie there, nobody knows of them: the worker says the end again, and it is published once."""
    cluster.agent("one", pool=pool)
    failing.touch()
    job = cluster.submit("steps=20 step_ms=20", pool=pool)
    wait_until(lambda: not cluster.web.is_running, what="the web's end")
    assert (cluster.folder / "adapters" / str(job.pk)).is_dir()
    assert not Adapter.objects.filter(job=job).exists()
    assert cluster.status(job) != "succeeded"
    cluster.web.start()
    assert cluster.wait_for(job).status == "succeeded"
    assert Adapter.objects.filter(job=job).count() == 1
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=20)


def test_f37_the_worker_dies_as_well(cluster: Cluster, pool: WorkerPool, failing: Any) -> None:
    """Files without a row, and nobody who would say the end again: the job runs once more and replaces them."""
    agent = cluster.agent("one", pool=pool)
    failing.touch()
    job = cluster.submit("steps=20 step_ms=20 save=10", pool=pool)
    wait_until(lambda: not cluster.web.is_running, what="the web's end")
    agent.kill()
    cluster.web.start()
    agent.start()
    assert cluster.wait_for(job).status == "succeeded"
    assert Adapter.objects.filter(job=job).count() == 1
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=20)
