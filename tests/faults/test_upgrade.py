"""A rolling upgrade: the dashboard first, with the workers of yesterday at work; then the workers, one after another.

worker-0.1.0.tar.gz is the worker of release 0.1.0 (protocol 1, messages without any field that came later) and its scripted trainer.
"""

import tarfile
from pathlib import Path

import pytest

from tests.faults.agents import Agent
from tests.faults.cluster import Clocks, Cluster
from tests.faults.scripted_worker import ScriptedWorker
from webapp.adapters.models import Adapter
from webapp.jobs.services import JobRefused, cancel_job, pause_job
from webapp.pools.models import Worker, WorkerPool
from worker.contract import PROTOCOL

CLOCKS = Clocks(lease=4)
RELEASED = Path(__file__).with_name("worker-0.1.0.tar.gz")


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker-0.1.0")
    with tarfile.open(RELEASED) as released:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in Python before 3.11.4
        released.extractall(folder, **safely)
    return folder


def old_agent(cluster: Cluster, pool: WorkerPool, old_code: Path) -> Agent:
    agent = cluster.join_as(old_code, "old", pool=pool)
    agent.start()
    return agent


def test_f45_a_worker_of_the_release_before(cluster: Cluster, pool: WorkerPool, old_code: Path) -> None:
    """It registers, claims, reports, uploads and ends jobs at today's dashboard, which is replaced while it works."""
    agent = old_agent(cluster, pool, old_code)
    job = cluster.submit("steps=100 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    assert Worker.objects.get(pk=agent.worker_id).protocol == 1
    cluster.web.restart()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.steps(job) == list(range(1, 101))
    stopped = cluster.submit("steps=5000 step_ms=20", pool=pool)
    cluster.wait_for_step(stopped, 3)
    with pytest.raises(JobRefused):
        pause_job(stopped, by=cluster.cast.alice)
    cancel_job(stopped, by=cluster.cast.alice, save=True)
    assert cluster.wait_for(stopped).status == "cancelled"
    assert Adapter.objects.get(job=stopped).is_partial


def test_f45_a_worker_is_upgraded_in_mid_job(cluster: Cluster, pool: WorkerPool, old_code: Path) -> None:
    """The old one is stopped and today's is started in its data folder: the job goes on with it."""
    agent = old_agent(cluster, pool, old_code)
    job = cluster.submit("steps=60 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    agent.stop()
    agent.folder = Path(__file__).resolve().parents[2]
    agent.start(PYTHONPATH=str(agent.folder))
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job)[-1] == "succeeded"
    assert Worker.objects.get(pk=agent.worker_id).protocol == PROTOCOL


@pytest.mark.parametrize("protocol", [0, 99])
def test_f45_other_protocols_are_told_which_side_to_upgrade(cluster: Cluster, pool: WorkerPool, protocol: int) -> None:
    """Two releases back, or ahead: 426 with a sentence, and nothing is claimed."""
    worker = ScriptedWorker.join(cluster, pool, name="odd", protocol=1)
    cluster.waiting.add(cluster.submit("steps=1", pool=pool).pk)
    answer = worker.client.post("claim", json={"protocol": protocol, "slot": 0, "free_memory_bytes": 2**33})
    assert answer.status_code == 426
    assert "pgrade" in answer.json()["error"]["message"] or "Update" in answer.json()["error"]["message"]
