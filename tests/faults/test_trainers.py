"""Trainers that die, hang, run out of disk or leave a torn checkpoint: the job goes on from the newest one that verifies."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.cluster import Clocks, Cluster
from tests.faults.digests import published_digest, undisturbed_digest
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.jobs.models import Checkpoint, JobEvent
from webapp.pools.models import Worker, WorkerPool

CLOCKS = Clocks(lease=4)
STEPS = 60
SCRIPT = f"steps={STEPS} step_ms=20 save=10"


def test_a_killed_trainer(cluster: Cluster, pool: WorkerPool) -> None:
    """kill -9 by the machine is retried: it goes on from the newest checkpoint, and the adapter is the undisturbed one."""
    cluster.agent("one", pool=pool)
    job = cluster.wait_for(cluster.submit(f"{SCRIPT} kill9=37", pool=pool))
    assert (job.status, job.retries) == ("succeeded", 1)
    assert cluster.attempts(job)[1].first_step == 30
    assert cluster.steps(job, attempt=2) == list(range(31, STEPS + 1))
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_a_line_torn_by_the_kill(cluster: Cluster, pool: WorkerPool) -> None:
    """Killed in the middle of a line: the line becomes a log line, and numbers stay without a gap."""
    cluster.agent("one", pool=pool)
    job = cluster.wait_for(cluster.submit(f"{SCRIPT} torn=37", pool=pool))
    assert (job.status, job.retries) == ("succeeded", 1)
    assert JobEvent.objects.filter(job=job, kind="log", data__text__startswith="The trainer wrote a line that is no event").exists()


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "file"),
    [(halve, "adapter_model.safetensors"), (zero, "state.json"), (flip, "adapter_model.safetensors"), (Path.unlink, "state.json")],
    ids=["half", "zeros", "a flipped bit", "gone"],
)
def test_f18_a_torn_checkpoint(cluster: Cluster, pool: WorkerPool, damage: Callable[[Path], None], file: str) -> None:
    """Whatever is wrong with the newest one on the disk, no run goes on from it, and the adapter is the undisturbed one."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit(f"{SCRIPT} step_ms=30", pool=pool)
    cluster.until(Checkpoint.objects.filter(job=job).exists, what="a checkpoint on the dashboard")
    trainer = agent.trainer(job)
    trainer.suspend()
    checkpoints = sorted(agent.run(job).glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    damage(checkpoints[-1] / file)
    trainer.kill()
    job = cluster.wait_for(job)
    assert (job.status, job.retries) == ("succeeded", 1)
    assert cluster.attempts(job)[1].first_step >= 10
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_f18_a_checkpoint_torn_while_it_was_written(cluster: Cluster, pool: WorkerPool) -> None:
    """A byte of it is wrong from the start: it never reaches the dashboard, and the one before it is used."""
    cluster.agent("one", pool=pool)
    job = cluster.wait_for(cluster.submit(f"{SCRIPT} torn_checkpoint=30", pool=pool))
    assert job.status == "succeeded"
    assert not Checkpoint.objects.filter(job=job, attempt__number=1, step=30).exists()
    assert cluster.attempts(job)[1].first_step == 20
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_f16_the_disk_is_full_at_a_checkpoint(cluster: Cluster, pool: WorkerPool) -> None:
    """The checkpoint before it stays whole, half a one is never listed, and the job goes on from the whole one."""
    cluster.agent("one", pool=pool)
    job = cluster.wait_for(cluster.submit(f"{SCRIPT} enospc=30", pool=pool))
    assert (job.status, job.retries) == ("succeeded", 1)
    first, second = cluster.attempts(job)
    assert (first.end_cause, second.first_step) == ("disk_full", 20)
    assert not Checkpoint.objects.filter(attempt=first, step__gte=30).exists()
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_f25_a_trainer_hangs(cluster: Cluster, pool: WorkerPool) -> None:
    """Its heart beats and nothing moves: what its threads were doing is in the log, it is ended, and the job is tried again."""
    cluster.agent("one", pool=pool, NIBBLE_STEP_SECONDS="1.5", NIBBLE_GRACE_SECONDS="0.5")
    job = cluster.wait_for(cluster.submit(f"{SCRIPT} hang=37", pool=pool))
    assert (job.status, job.retries) == ("succeeded", 1)
    assert cluster.attempts(job)[0].end_cause == "trainer_stalled"
    assert JobEvent.objects.filter(job=job, kind="log", data__text__icontains="in hang").exists(), "the stack"
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_f50_a_gpu_that_failed(cluster: Cluster, pool: WorkerPool) -> None:
    """What NVIDIA's driver prints of a GPU that is gone takes the worker out of service; the job goes on elsewhere."""
    broken = cluster.agent("broken", pool=pool)
    job = cluster.submit(f"{SCRIPT} xid=37", pool=pool)
    cluster.until(lambda: cluster.statuses(job) == ["failed"], what="the end of the first attempt")
    worker = Worker.objects.get(pk=broken.worker_id)
    assert worker.state == Worker.State.DRAINING
    assert "fallen off the bus" in worker.state_reason
    other = cluster.agent("other", pool=pool)
    job = cluster.wait_for(job)
    assert job.status == "succeeded"
    first, second = cluster.attempts(job)
    assert (first.end_cause, second.worker_id) == ("node_trouble", other.worker_id)
    assert published_digest(cluster, job) == undisturbed_digest(job, steps=STEPS)


def test_what_the_user_must_mend_is_not_retried(cluster: Cluster, pool: WorkerPool) -> None:
    """A diverged loss, bad data: one attempt, one sentence."""
    cluster.agent("one", pool=pool)
    for script in ("steps=9 nan=5", "steps=9 fail=bad_data@3"):
        job = cluster.wait_for(cluster.submit(script, pool=pool))
        assert (job.status, cluster.statuses(job), job.retries) == ("failed", ["failed"], 0)


def test_f51_an_orphan_in_a_session_of_its_own(cluster: Cluster, pool: WorkerPool) -> None:
    """What a trainer left behind in another session is found and ended; on a GPU it would hold memory."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=30 step_ms=20 orphan=1", pool=pool)
    cluster.wait_for_step(job, 1)
    orphans = agent.below("time.sleep(600)")
    assert orphans
    agent.trainer(job).kill()
    wait_until(lambda: all(is_over(orphan) for orphan in orphans), what="the orphan's end", seconds=15)
    assert cluster.wait_for(job).status == "succeeded"
