"""PostgreSQL is restarted, stays away, or takes nothing: what was accepted is there, what ran goes on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from django.db import connection

from tests.faults.cluster import Clocks, Cluster
from tests.faults.visitors import job_body, visitor
from tests.waiting import wait_until
from webapp.database import POOL
from webapp.jobs.models import Job
from webapp.pools.models import WorkerPool

KIND = "postgres"
CLOCKS = Clocks(lease=4)


def submitted(alice: httpx.Client, body: dict[str, Any]) -> int:
    """As a careful program does: an answer that says "later" is asked again with the same key."""
    key = {"Idempotency-Key": body["name"]}

    def answer() -> int | None:
        try:
            reply = alice.post("/api/v1/jobs", json=body, headers=key)
        except httpx.TransportError:
            return None
        assert reply.status_code in (201, 503), f"{reply.status_code} {reply.text[:200]}"
        assert reply.status_code == 201 or int(reply.headers["Retry-After"]) > 0
        return int(reply.json()["id"]) if reply.status_code == 201 else None

    return wait_until(answer, what=body["name"]) or 0


def test_f12_postgres_crashes_and_recovers(cluster: Cluster, pool: WorkerPool) -> None:
    """Eight jobs run and twenty are submitted meanwhile: 503 or success, nothing lost, no attempt started again."""
    for name in ("one", "two"):
        cluster.agent(name, pool=pool, slots=4)
    running = [cluster.submit(f"steps=80 step_ms=60 #{number}", pool=pool) for number in range(8)]
    for job in running:
        cluster.wait_for(job, "running")
    with visitor(cluster) as alice, ThreadPoolExecutor(4) as threads:
        bodies = [job_body(cluster, f"steps=1 later {number}", pool=pool.name) for number in range(20)]
        later = [threads.submit(submitted, alice, body) for body in bodies]
        cluster.postgres.restart(cluster.postgres.immediate_stop)
        numbers = [each.result() for each in later]
    jobs = [*running, *(cluster.until(lambda n=number: Job.objects.get(pk=n), what=f"job {number}") for number in numbers)]  # type: ignore[misc]
    for job in jobs:
        assert cluster.wait_for(job).status == "succeeded"
        assert cluster.statuses(job) == ["succeeded"]
    assert len(set(numbers)) == 20
    assert Job.objects.filter(pool=pool).count() == 28
    for job in running:
        assert cluster.steps(job) == list(range(1, 81))


def test_f13_postgres_is_away_for_three_leases(cluster: Cluster, pool: WorkerPool) -> None:
    """Nobody could renew a lease, so no lease counts: once it is back every worker has a whole one to speak."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=320 step_ms=50", pool=pool)
    cluster.wait_for_step(job, 3)
    (before,) = cluster.attempts(job)
    cluster.postgres.stop(cluster.postgres.immediate_stop)
    run = agent.run(job)
    wait_until(
        lambda: (run / "events.jsonl").read_bytes().count(b'"metrics"') * 0.05 > 3 * CLOCKS.lease, what="three leases of training"
    )
    cluster.postgres.start()
    assert cluster.wait_for(job, seconds=60).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.attempts(job)[0].lease_until > before.lease_until
    assert cluster.steps(job) == list(range(1, 321))


def test_f14_postgres_takes_no_writes(cluster: Cluster, pool: WorkerPool) -> None:
    """Reads are answered, writes are told to come later; a worker keeps its trainer, and all its lines arrive."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=250 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer = agent.trainer(job)
    with visitor(cluster) as alice:
        read_only(cluster, on=True)
        try:
            wait_until(lambda: "Training goes on" in agent.said, what="the worker is told to come later")
            assert alice.get(f"/api/v1/jobs/{job.pk}").status_code == 200
            refused = alice.post("/api/v1/jobs", json=job_body(cluster, "steps=1", pool=pool.name))
            assert refused.status_code == 503, refused.text[:300]
            assert int(refused.headers["Retry-After"]) > 0
            assert trainer.is_running()
        finally:
            read_only(cluster, on=False)
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.steps(job) == list(range(1, 251))


def test_connections_are_as_many_as_the_pool_has(cluster: Cluster) -> None:
    """Each request has a thread of its own; what stays behind with it must not be a connection."""
    name = connection.settings_dict["NAME"]
    most = 0
    with visitor(cluster) as alice, ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(alice.get, "/api/v1/jobs") for _ in range(240)]
        while not all(each.done() for each in asked):
            most = max(most, connections_to(name))
        assert {each.result().status_code for each in asked} == {200}
    pools = 2  # the web's and the reaper's
    assert 2 < most <= pools * POOL["max_size"]


def connections_to(name: str) -> int:
    """This process's own is left out."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [name])
        return int(cursor.fetchone()[0])


def read_only(cluster: Cluster, *, on: bool) -> None:
    """As on a standby, or when its administrator says so: for every session from now on."""
    name = connection.settings_dict["NAME"]
    cluster.postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {"on" if on else "off"}')
    cluster.postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    connection.close()
