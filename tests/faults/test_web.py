"""The web is killed and comes back: what was accepted exists, what ran went on, and every event arrives once."""

import pytest

from tests.faults.cluster import Clocks, Cluster
from tests.faults.visitors import Watcher
from tests.waiting import wait_until
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=20)
"""As in life, an outage shorter than a lease."""


@pytest.mark.parametrize("away", ["at once", "until everyone has noticed"])
def test_f05_a_killed_web_with_eight_running_jobs(cluster: Cluster, pool: WorkerPool, away: str) -> None:
    """No attempt is started again, every line is stored once, and an open job page misses nothing."""
    agents = [cluster.agent(name, pool=pool, slots=4) for name in ("one", "two")]
    jobs = [cluster.submit(f"steps=70 step_ms=60 #{number}", pool=pool) for number in range(8)]
    for job in jobs:
        cluster.wait_for(job, "running")
    with Watcher(cluster, jobs[0]) as watcher:
        wait_until(lambda: watcher.cursors, what="the first events at the socket")
        cluster.web.kill()
        if away != "at once":
            for agent in agents:
                wait_until(lambda said=agent: "is away" in said.said, what=f"{agent.name} notices")  # type: ignore[misc]
        cluster.web.start()
        for job in jobs:
            assert cluster.wait_for(job).status == "succeeded"
        jobs[0].refresh_from_db()
        watcher.wait_for(jobs[0].last_cursor)
        assert watcher.cursors == list(range(1, jobs[0].last_cursor + 1))
        assert watcher.connections >= 2
    for job in jobs:
        assert cluster.statuses(job) == ["succeeded"]
        assert cluster.steps(job) == list(range(1, 71))


def test_a_frozen_web_is_a_slow_one(cluster: Cluster, pool: WorkerPool) -> None:
    """It stands still with requests in hand; once it goes on, each is answered and counted once."""
    cluster.agent("one", pool=pool)
    job = cluster.submit("steps=60 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    cluster.web.freeze()
    run = cluster.agents[-1].run(job)
    wait_until(lambda: (run / "adapter").exists() or b'"step": 60' in (run / "events.jsonl").read_bytes(), what="training goes on")
    cluster.web.thaw()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.steps(job) == list(range(1, 61))


def test_a_killed_reaper_is_missed_by_nobody_but_the_dead(cluster: Cluster, pool: WorkerPool) -> None:
    """Without it jobs run and end; a dead worker's job waits until it is back, and then goes on."""
    first = cluster.agent("first", pool=pool)
    cluster.reaper.kill()
    assert cluster.wait_for(cluster.submit("steps=3", pool=pool)).status == "succeeded"
    job = cluster.submit("steps=30 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 2)
    first.kill()
    first.start()  # it says by itself that it no longer runs the job
    assert cluster.wait_for(job).status == "succeeded"
    cluster.reaper.start()
    assert "lost" in cluster.statuses(job)
