"""Redis is restarted, emptied, or stays away: it only rings. Jobs are in the database, and each runs once."""

import json
import random
from datetime import timedelta

from tests.faults.cluster import Clocks, Cluster
from tests.faults.visitors import Watcher, job_body, visitor
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.celeryapp import ring_pool
from webapp.jobs.models import Attempt, Job
from webapp.pools.models import WorkerPool

RINGS = True
CLOCKS = Clocks(lease=8, poll=600)
"""Nobody asks by himself: what is claimed here was rung for."""


def test_f08_redis_is_killed_and_starts_empty(cluster: Cluster, pool: WorkerPool) -> None:
    """Twenty jobs are queued when it goes; once workers hear it again the reaper rings, and all run once."""
    jobs = [cluster.submit(f"steps=1 #{number}", pool=pool) for number in range(20)]
    cluster.redis.kill()
    cluster.redis.start()
    agents = [cluster.agent(name, pool=pool) for name in ("one", "two")]
    for job in jobs:
        assert cluster.wait_for(job).status == "succeeded"
        assert cluster.statuses(job) == ["succeeded"]
    assert all(Attempt.objects.filter(job__in=jobs, worker=agent.worker_id).exists() for agent in agents)


def test_f09_redis_is_emptied_ten_times(cluster: Cluster, pool: WorkerPool) -> None:
    """Whatever was rung is forgotten, again and again; thirty jobs run once, and a socket misses nothing."""
    for name in ("one", "two"):
        cluster.agent(name, pool=pool)
    jobs = [cluster.submit(f"steps=4 step_ms=20 #{number}", pool=pool) for number in range(30)]
    chance = random.Random(9)
    with Watcher(cluster, jobs[-1]) as watcher:
        for ended in sorted(chance.sample(range(1, 29), 10)):
            cluster.until(lambda n=ended: Job.objects.filter(pool=pool, status="succeeded").count() >= n, what=f"{ended} ends")  # type: ignore[misc]
            cluster.redis.empty()
        for job in jobs:
            assert cluster.wait_for(job).status == "succeeded"
            assert cluster.statuses(job) == ["succeeded"]
        watcher.wait_for(jobs[-1].last_cursor)
        assert watcher.cursors == list(range(1, jobs[-1].last_cursor + 1))


def test_f11_redis_restarts_in_mid_job_and_the_worker_is_replaced(cluster: Cluster, pool: WorkerPool) -> None:
    """The message that started the job may come again: it claims nothing. The job runs once."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=150 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer = agent.trainer(job)
    cluster.redis.restart()
    wait_until(lambda: "Connected to redis" in agent.said.rpartition("Error")[2], what="Celery is back")
    assert cluster.wait_for(job).status == "succeeded"
    assert is_over(trainer)
    agent.stop()
    cluster.agent("two", pool=pool)
    assert cluster.wait_for(cluster.submit("steps=1", pool=pool)).status == "succeeded", "the new one hears rings"
    assert cluster.statuses(job) == ["succeeded"]


def test_f30_a_hundred_rings_for_one_job(cluster: Cluster, pool: WorkerPool) -> None:
    """Four workers hear that there is work, a hundred times: one claims it."""
    agents = [cluster.agent(f"w{number}", pool=pool) for number in range(4)]
    for agent in agents:
        wait_until(lambda said=agent: "ready." in said.said, what=f"Celery of {agent.name}")  # type: ignore[misc]
    job = cluster.submit("steps=60 step_ms=20", pool=pool)
    for _ in range(100):
        ring_pool(pool.queue)
    cluster.wait_for_step(job, 5)
    assert sum(len(agent.trainers()) for agent in agents) == 1
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]


def test_f10_redis_stays_away(cluster: Cluster, pool: WorkerPool) -> None:
    """Jobs are still taken in, claimed and run; pages answer; the one place that names parts names Redis."""
    cluster.agent("one", pool=pool, NIBBLE_POLL_SECONDS="0.5")
    cluster.redis.stop()
    try:
        with visitor(cluster) as alice, visitor(cluster, cluster.cast.ada) as ada:
            answer = alice.post("/api/v1/jobs", json=job_body(cluster, "steps=5", pool=pool.name))
            assert answer.status_code == 201, answer.text
            job = Job.objects.get(pk=answer.json()["id"])
            assert cluster.wait_for(job).status == "succeeded"
            assert alice.get("/healthz").status_code == 200
            assert alice.get(f"/jobs/{job.pk}/").status_code == 200
            ready = ada.get("/readyz")
            assert ready.status_code == 503
            parts = ready.json()["parts"]
            assert parts["database"] == "ok"
            assert "refused" in parts["redis"]
            assert "for tests only" not in json.dumps(parts)
    finally:
        cluster.redis.start()
    assert job.started_at is not None
    assert job.queued_at is not None
    assert job.started_at - job.queued_at < timedelta(seconds=10)


def test_f08_a_ring_that_was_lost_is_rung_again(cluster: Cluster, pool: WorkerPool) -> None:
    """Redis forgets the ring before a worker hears it: the reaper rings again within two passes."""
    agent = cluster.agent("one", pool=pool)
    wait_until(lambda: "ready." in agent.said, what="Celery is ready")
    agent.freeze()
    job = cluster.submit("steps=2", pool=pool)
    cluster.redis.empty()
    agent.thaw()
    assert cluster.wait_for(job).status == "succeeded"
