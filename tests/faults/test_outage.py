"""The ratio of real life: the web is away for twenty leases, as ten minutes are of 30 s, while training goes on."""

from tests.faults.cluster import Clocks, Cluster
from tests.waiting import wait_until
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=1.2, heartbeat=0.2, reaper=0.2)
AWAY_LEASES, STEP = 20, 0.06


def test_the_web_is_away_for_twenty_leases(cluster: Cluster, pool: WorkerPool) -> None:
    """Nobody could be heard, so nothing is marked lost; what was told meanwhile arrives in order, once."""
    agents = [cluster.agent(name, pool=pool) for name in ("one", "two")]
    steps = round(AWAY_LEASES * CLOCKS.lease / STEP) + 40
    jobs = [cluster.submit(f"steps={steps} step_ms={STEP * 1000:.0f} #{number}", pool=pool) for number in range(2)]
    for job in jobs:
        cluster.wait_for_step(job, 3)
    cluster.web.stop()
    runs = [agent.run(job) for agent in agents for job in jobs if agent.run(job).exists()]
    told = [(run / "events.jsonl").read_bytes().count(b'"metrics"') for run in runs]
    away = round(AWAY_LEASES * CLOCKS.lease / STEP)
    for run, before in zip(runs, told, strict=True):
        wait_until(
            lambda run=run, before=before: (run / "events.jsonl").read_bytes().count(b'"metrics"') > before + away,  # type: ignore[misc]
            what="twenty leases of training",
            every=0.5,
        )
    cluster.web.start()
    for job in jobs:
        assert cluster.wait_for(job).status == "succeeded"
        assert cluster.statuses(job) == ["succeeded"]
        assert cluster.steps(job) == list(range(1, steps + 1))
