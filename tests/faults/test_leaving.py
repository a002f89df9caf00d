"""Workers that leave: drained, told twice, cut off for too long, or gone for ever. Their jobs go on from a checkpoint elsewhere."""

import shutil
import signal

from tests.faults.agents import Agent
from tests.faults.cluster import Clocks, Cluster
from tests.faults.digests import published_digest, undisturbed_digest
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.jobs.models import Checkpoint, Job, JobEvent
from webapp.jobs.services import pause_job, resume_job
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=4)
STEPS = 120
SCRIPT = f"steps={STEPS} step_ms=20 save=10"


def waiting_agent(cluster: Cluster, name: str, pool: WorkerPool) -> Agent:
    """Ready to take over; it claims nothing before its cable is mended."""
    agent = cluster.join(name, pool=pool)
    agent.cable.refuse()
    agent.start()
    return agent


def succeeded_as_undisturbed(cluster: Cluster, job: Job) -> None:
    """The adapter is the one of a run that nothing happened to, and the chart (a later attempt wins) has each step."""
    assert cluster.wait_for(job).status == "succeeded"
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)
    assert sorted(set(cluster.steps(job))) == list(range(1, STEPS + 1))


def test_f06_a_worker_drains(cluster: Cluster, pool: WorkerPool) -> None:
    """SIGTERM: it claims nothing new, saves, gives the job back uncounted and ends with 0; the job goes on where it was."""
    first, second = cluster.agent("first", pool=pool), waiting_agent(cluster, "second", pool)
    job = cluster.submit(SCRIPT, pool=pool)
    cluster.wait_for_step(job, 15)
    next_job = cluster.submit("steps=1", pool=pool)
    first.signal(signal.SIGTERM)
    wait_until(lambda: not first.is_running, what="its end", seconds=30)
    assert first.process.returncode == 0
    job.refresh_from_db()
    assert (job.status, job.retries, job.not_before) == ("queued", 0, None)
    second.cable.mend()
    succeeded_as_undisturbed(cluster, job)
    given_back, won = cluster.attempts(job)
    assert (given_back.end_cause, given_back.worker_id) == ("drained", first.worker_id)
    assert won.first_step >= 15, "nothing was repeated"
    assert cluster.steps(job) == list(range(1, STEPS + 1))
    assert cluster.wait_for(next_job).status == "succeeded"
    assert cluster.attempts(next_job)[0].worker_id == second.worker_id


def test_f06_a_drained_worker_starts_again(cluster: Cluster, pool: WorkerPool) -> None:
    """An upgrade of a machine: drained, started anew, and its own job goes on with it."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit(SCRIPT, pool=pool)
    cluster.wait_for_step(job, 15)
    agent.restart()
    succeeded_as_undisturbed(cluster, job)
    assert [attempt.end_cause for attempt in cluster.attempts(job)] == ["drained", ""]
    assert cluster.steps(job) == list(range(1, STEPS + 1))


def test_f07_a_second_sigterm(cluster: Cluster, pool: WorkerPool) -> None:
    """Everything ends at once, nothing is left running; the job goes on from its last checkpoint when the lease is over."""
    agent, other = cluster.agent("one", pool=pool), waiting_agent(cluster, "other", pool)
    job = cluster.submit(f"{SCRIPT} slow_stop_ms=60000", pool=pool)
    cluster.until(Checkpoint.objects.filter(job=job).exists, what="a checkpoint on the dashboard")
    below = agent.below()
    agent.signal(signal.SIGTERM)
    wait_until(lambda: "Stopping: SIGTERM" in agent.said, what="it drains")
    agent.signal(signal.SIGTERM)
    wait_until(lambda: not agent.is_running, what="its end", seconds=10)
    assert agent.process.returncode == 128 + signal.SIGTERM
    assert all(is_over(process) for process in below)
    other.cable.mend()
    succeeded_as_undisturbed(cluster, job)
    assert cluster.attempts(job)[1].first_step >= 10


def test_f27_a_worker_never_comes_back(cluster: Cluster, pool: WorkerPool) -> None:
    """Machine and disk are gone: the job goes on elsewhere from the checkpoint that the dashboard keeps."""
    gone, other = cluster.agent("gone", pool=pool), waiting_agent(cluster, "other", pool)
    job = cluster.submit(SCRIPT, pool=pool)
    cluster.until(Checkpoint.objects.filter(job=job, step__gte=20).exists, what="a checkpoint on the dashboard")
    gone.cable.hold()
    gone.kill()
    shutil.rmtree(gone.data / "runs")
    other.cable.mend()
    succeeded_as_undisturbed(cluster, job)
    lost, won = cluster.attempts(job)
    assert (lost.status, lost.end_cause) == ("lost", "worker_lost")
    assert won.first_step >= 20
    assert won.first_step <= lost.last_step + 10
    job.refresh_from_db()
    assert job.retries == 1


def test_f27_without_a_checkpoint_it_says_so(cluster: Cluster, pool: WorkerPool) -> None:
    """Nothing was saved yet: it starts again from the beginning, and its events say that."""
    gone, _other = cluster.agent("gone", pool=pool), waiting_agent(cluster, "other", pool)
    job = cluster.submit(f"steps={STEPS} step_ms=20", pool=pool)
    cluster.wait_for_step(job, 5)
    gone.kill()
    _other.cable.mend()
    succeeded_as_undisturbed(cluster, job)
    whys = JobEvent.objects.filter(job=job, kind="state").values_list("data", flat=True)
    assert any("It starts again from the beginning" in data["why"] for data in whys)


def test_the_offline_limit(cluster: Cluster) -> None:
    """Cut off alone, it trains on for the pool's limit, then saves and stops, though nobody can tell it to."""
    pool = cluster.new_pool("offline-limit", offline_limit_seconds=2)
    agent, other = cluster.agent("cut-off", pool=pool, NIBBLE_TRAINER_SCRIPT="step_ms=20"), waiting_agent(cluster, "other", pool)
    wait_until((agent.data / "policy.json").exists, what="the pool's limit is known")
    job = cluster.submit("steps=600 save=50", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer = agent.trainer(job)
    agent.cable.refuse()
    wait_until(lambda: is_over(trainer), what="it stops by itself")
    assert list(agent.run(job).glob("checkpoints/checkpoint-*/manifest.json")), "it saved"
    cluster.until(lambda: cluster.statuses(job) == ["lost"], what="the lease's end")
    other.cable.mend()
    cluster.until(lambda: len(cluster.attempts(job)) == 2, what="the other takes it")
    agent.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=600)
    assert cluster.attempts(job)[1].worker_id == other.worker_id


def test_paused_here_resumed_there(cluster: Cluster, pool: WorkerPool) -> None:
    """Paused on one worker, resumed on another: not a step is lost or trained twice."""
    first, second = cluster.agent("first", pool=pool), waiting_agent(cluster, "second", pool)
    job = cluster.submit(SCRIPT, pool=pool)
    cluster.wait_for_step(job, 15)
    pause_job(job, by=cluster.cast.alice)
    cluster.wait_for(job, "paused")
    assert not first.trainers()
    first.cable.refuse()
    second.cable.mend()
    resume_job(job, by=cluster.cast.alice)
    succeeded_as_undisturbed(cluster, job)
    assert [attempt.end_cause for attempt in cluster.attempts(job)] == ["paused", ""]
    assert cluster.steps(job) == list(range(1, STEPS + 1))


def test_a_pause_while_the_worker_is_lost(cluster: Cluster, pool: WorkerPool) -> None:
    """Asked to pause, then its worker dies: it is paused with what the dashboard keeps, and goes on when resumed."""
    gone, other = cluster.agent("gone", pool=pool), waiting_agent(cluster, "other", pool)
    job = cluster.submit(f"{SCRIPT} slow_stop_ms=60000", pool=pool)
    cluster.until(Checkpoint.objects.filter(job=job).exists, what="a checkpoint on the dashboard")
    pause_job(job, by=cluster.cast.alice)
    assert cluster.status(job) == "pausing"
    gone.kill()
    cluster.wait_for(job, "paused")
    other.cable.mend()
    resume_job(job, by=cluster.cast.alice)
    succeeded_as_undisturbed(cluster, job)
    assert cluster.attempts(job)[1].first_step >= 10
