"""Cancelling: it wins or it comes too late, and never both; and it needs neither Redis nor a willing trainer."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.faults.cluster import Clocks, Cluster
from tests.faults.scripted_worker import ScriptedWorker
from tests.faults.visitors import visitor
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.adapters.models import Adapter
from webapp.jobs.models import Attempt, Job, JobEvent
from webapp.jobs.services import cancel_job
from webapp.pools.models import WorkerPool

KIND = "postgres"
CLOCKS = Clocks(lease=20)
PAIRS = 40


def test_f33_cancel_races_with_finish(cluster: Cluster, pool: WorkerPool) -> None:
    """Started together they end in one of two ways: it succeeded and the cancel is refused, or it was cancelled. Never both."""
    jobs = [cluster.submit(f"race {number}", pool=pool) for number in range(PAIRS)]
    worker = ScriptedWorker.join(cluster, pool, name="scripted", slots=PAIRS)
    works = [worker.claim(slot) for slot in range(PAIRS)]
    for work in works:
        worker.start(work)
        worker.upload(work)
    alice = visitor(cluster)

    def race(work: dict[str, object]) -> tuple[int, int]:
        start = threading.Barrier(2)

        def cancel() -> int:
            start.wait()
            return alice.post(f"/api/v1/jobs/{work['job_id']}/cancel", json={"save": False}).status_code

        with ThreadPoolExecutor(1) as other:
            cancelled = other.submit(cancel)
            start.wait()
            return worker.finish(work).status_code, cancelled.result()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(race, works))
    alice.close()
    for (finished, cancelled), work in zip(answers, works, strict=True):
        status = Job.objects.get(pk=work["job_id"]).status
        assert finished == 200
        assert (status, cancelled) in {("succeeded", 409), ("cancelled", 200)}
        assert Adapter.objects.filter(job=work["job_id"]).exists() == (status == "succeeded")
    assert len(jobs) == len(works)


def test_f34_a_queued_job_is_cancelled_with_all_workers_down(cluster: Cluster, pool: WorkerPool) -> None:
    """It never starts, whatever was rung for it."""
    job = cluster.submit("steps=5", pool=pool)
    cancel_job(job, by=cluster.cast.alice, save=False)
    agent = cluster.agent("late", pool=pool)
    after = cluster.wait_for(cluster.submit("steps=1", pool=pool))
    assert after.status == "succeeded"
    assert cluster.statuses(job) == []
    assert not agent.run(job).exists()


def test_f35_a_trainer_that_ignores_it(cluster: Cluster, pool: WorkerPool) -> None:
    """Neither the stop nor SIGTERM is heard: it is killed in time, and the job is cancelled."""
    agent = cluster.agent("one", pool=pool, NIBBLE_DISCARD_SECONDS="0.5", NIBBLE_GRACE_SECONDS="0.5")
    job = cluster.submit("steps=5000 step_ms=20 deaf=1", pool=pool)
    cluster.wait_for_step(job, 2)
    trainer = agent.trainer(job)
    cancel_job(job, by=cluster.cast.alice, save=False)
    assert cluster.wait_for(job).status == "cancelled"
    wait_until(lambda: is_over(trainer), what="the trainer's end")
    assert JobEvent.objects.filter(job=job, kind="log", data__text__startswith="The trainer did not stop in time").exists()


def test_a_cancel_while_the_worker_is_cut_off(cluster: Cluster, pool: WorkerPool) -> None:
    """The order to stop waits for the worker, and reaches it with the reply to its first post."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=5000 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 2)
    agent.cable.refuse()
    cancel_job(job, by=cluster.cast.alice, save=False)
    assert cluster.status(job) == "stopping"
    agent.cable.mend()
    assert cluster.wait_for(job).status == "cancelled"
    assert Attempt.objects.get(job=job).status == "stopped"


def test_a_cancel_while_the_web_is_killed(cluster: Cluster, pool: WorkerPool) -> None:
    """What the dashboard has said yes to outlives it."""
    cluster.agent("one", pool=pool)
    job = cluster.submit("steps=5000 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 2)
    with visitor(cluster) as alice:
        assert alice.post(f"/api/v1/jobs/{job.pk}/cancel", json={"save": True}).status_code == 200
    cluster.web.kill()
    cluster.web.start()
    assert cluster.wait_for(job).status == "cancelled"
    assert Adapter.objects.get(job=job).is_partial
