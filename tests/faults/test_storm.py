"""The short form of bench/chaos.py: a dozen jobs, two workers, eight faults by chance."""

import random

from tests.faults.cluster import Cluster
from tests.faults.storm import Plan, Storm
from tests.faults.storm_cluster import CLOCKS as STORM_CLOCKS
from tests.faults.storm_cluster import SETTINGS as STORM_SETTINGS
from tests.faults.storm_figures import figures_of, table
from webapp.pools.models import WorkerPool

KIND = "postgres"
RINGS = True
CLOCKS, SETTINGS = STORM_CLOCKS, STORM_SETTINGS


def test_a_storm(cluster: Cluster, pool: WorkerPool) -> None:
    """No job lost, no two leases, no event lost or doubled, every end as asked for."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed={seed}")  # noqa: T201
    storm = Storm(cluster, Plan(seed=seed, jobs=12, agents=2, faults=8, seconds=25, steps=(40, 90), step_ms=20), pool)
    storm.rage()
    figures = figures_of(storm)
    assert figures.broken == [], table(figures, seed=seed)
    assert sum(figures.faults.values()) == 8
    assert figures.jobs == 12
