"""The cluster that a storm goes over: rings and questions, retries without long pauses, so that it is over in minutes."""

from pathlib import Path

from tests.databases import databases
from tests.faults.cluster import Clocks, running_cluster
from tests.faults.storm import Plan, Storm
from tests.faults.storm_figures import Figures, figures_of

CLOCKS = Clocks(lease=3, heartbeat=0.5, poll=2)
SETTINGS = {"NIBBLE_MAX_RETRIES": "40"}
"""A storm ends more attempts of a job than a year of bad nights; the rule against poison jobs stays."""


def storm_over(folder: Path, plan: Plan, *, kind: str) -> Figures:
    with databases() as made, running_cluster(folder, databases=made, kind=kind, clocks=CLOCKS, rings=True, **SETTINGS) as cluster:
        storm = Storm(cluster, plan, cluster.new_pool("storm"))
        try:
            storm.rage()
            return figures_of(storm)
        finally:
            cluster.clear_away()
