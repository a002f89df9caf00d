"""Worker machines die, freeze and come back; their jobs go on elsewhere, once."""

from datetime import timedelta

from tests.faults.cluster import Clocks, Cluster
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.pools.models import WorkerPool

KINDS = ("sqlite", "postgres")
CLOCKS = Clocks()


def test_f02_a_killed_slot_process(cluster: Cluster, pool: WorkerPool) -> None:
    """The process that reports is killed: its trainer dies with it within a second, and the job runs again and succeeds."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=30 step_ms=30", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer, slots = agent.trainer(job), agent.slots()
    for process in slots:
        process.kill()
    wait_until(lambda: is_over(trainer), what="the trainer's end", seconds=1)
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["lost", "succeeded"]


def test_f03_a_killed_worker(cluster: Cluster, pool: WorkerPool) -> None:
    """A machine loses its power: another claims its job within two leases, and nothing of the dead one runs on."""
    first = cluster.agent("first", pool=pool)
    second = cluster.agent("second", pool=pool)
    second.cable.refuse()
    job = cluster.submit("steps=40 step_ms=30", pool=pool)
    cluster.wait_for_step(job, 3)
    below = first.below()
    first.kill()
    wait_until(lambda: all(is_over(process) for process in below), what="the end of all below", seconds=2)
    second.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    lost, won = cluster.attempts(job)
    assert (lost.status, won.status, won.worker_id) == ("lost", "succeeded", second.worker_id)
    assert won.claimed_at - lost.lease_until < timedelta(seconds=2 * CLOCKS.lease)


def test_f26_a_frozen_agent_wakes_up(cluster: Cluster, pool: WorkerPool) -> None:
    """Frozen beyond its lease: its job is given away; when it wakes up it is refused, and ends its trainer within a second."""
    frozen = cluster.agent("frozen", pool=pool, NIBBLE_TRAINER_SCRIPT="steps=5000 step_ms=20")
    job = cluster.submit("moves on", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer = frozen.trainer(job)
    frozen.freeze()
    cluster.until(lambda: cluster.statuses(job) == ["lost"], what="the lease's end")
    assert not is_over(trainer), "nobody told it"
    other = cluster.agent("other", pool=pool, NIBBLE_TRAINER_SCRIPT="steps=60 step_ms=20")
    cluster.wait_for_step(job, 5, attempt=2)
    frozen.thaw()
    wait_until(lambda: is_over(trainer), what="the late trainer's end", seconds=5)
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.steps(job, attempt=2) == list(range(1, 61))
    late, won = cluster.attempts(job)
    assert (late.status, won.worker_id) == ("fenced", other.worker_id)
    assert late.refused_posts > 0


def test_f49_a_job_that_kills_its_trainer_every_time(cluster: Cluster, pool: WorkerPool) -> None:
    """Three losses at the same step are the job's fault: it ends with a sentence, and the worker serves the next one."""
    cluster.agent("one", pool=pool)
    job = cluster.wait_for(cluster.submit("steps=9 kill9=1 always=1", pool=pool), seconds=60)
    assert (job.status, len(cluster.attempts(job))) == ("failed", 3)
    assert job.failure is not None
    assert (job.failure["cause"], len(job.failure["evidence"])) == ("poison", 3)
    assert cluster.wait_for(cluster.submit("steps=2", pool=pool)).status == "succeeded"
