"""Workers at the real dashboard: how they join, take jobs beside each other, drain, and die."""

import json
import os
import signal
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.dashboard import ENDED, Dashboard
from tests.worker.agent.job_logs import digest
from webapp.jobs.models import Attempt, Checkpoint
from webapp.jobs.services import cancel_job
from webapp.pools.models import JoinToken, Worker, WorkerPool
from webapp.pools.services import drain_worker, enable_worker, new_join_token, revoke_worker

LEASE_SECONDS = 3  # a worker that was killed is missed soon


def test_worker_json_is_for_its_owner_only(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    joined = dashboard.join(tmp_path / "w", "--name", "box", "--slots", "2", pool=pool)
    assert joined.returncode == 0, joined.stderr
    assert f"Joined pool {pool.name}" in joined.stdout
    file = tmp_path / "w" / "worker.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads(file.read_text())
    assert (kept["url"], kept["pool"], kept["queue"], kept["slots"], kept["name"]) == (
        dashboard.url,
        pool.name,
        pool.queue,
        2,
        "box",
    )
    assert kept["broker_url"] == dashboard.environment["REDIS_URL"]


def test_a_folder_joins_once_unless_again(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    dashboard.join(tmp_path / "w", pool=pool)
    second = dashboard.join(tmp_path / "w", pool=pool)
    assert second.returncode != 0
    assert "has joined" in second.stderr
    assert dashboard.join(tmp_path / "w", "--again", pool=pool).returncode == 0
    assert Worker.objects.filter(pool=pool).count() == 2


def test_a_wrong_a_used_and_an_expired_token_say_so(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    used = new_join_token(pool, by=None)
    dashboard.join(tmp_path / "w", pool=pool, token=used)
    expired = new_join_token(pool, by=None)
    JoinToken.objects.filter(pool=pool, used_at=None).update(expires_at=datetime.now(UTC) - timedelta(minutes=1))
    for token, words in ((used, "was used already"), (expired, "has expired"), ("nbj_wrong", "is wrong")):
        refused = dashboard.join(tmp_path / "other", pool=pool, token=token)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "other" / "worker.json").exists()


def test_an_address_without_a_nibble_says_so(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    away = dashboard.at("http://127.0.0.1:9").join(tmp_path / "w", pool=pool)
    assert "cannot be reached" in away.stderr
    other = dashboard.at(f"{dashboard.url}/jobs").join(tmp_path / "w", pool=pool)
    assert "there is no Nibble dashboard" in other.stderr
    assert away.returncode == other.returncode == 1


def test_a_revoked_worker_kills_its_trainer_and_leaves(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        job = dashboard.submit("steps=2000 step_ms=20", pool=pool)
        trainer = agent.trainer()
        dashboard.wait_for(job, "running")
        revoke_worker(Worker.objects.get(pool=pool))
        wait_until(lambda: agent.process.poll() is not None, what="the agent's end")
        assert agent.process.returncode == 3
        assert "wrong or was revoked" in agent.said
        assert is_over(trainer)
    dashboard.wait_for(job, "queued")


def test_a_second_worker_of_the_same_machine_takes_jobs(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "one", pool=pool), dashboard.worker(tmp_path / "two", pool=pool):
        long = dashboard.submit("steps=5000 step_ms=50", pool=pool)
        dashboard.wait_for_step(long, 1)
        short = dashboard.submit("steps=3", pool=pool)
        dashboard.wait_for(short, *ENDED)
        cancel_job(long, by=dashboard.cast.alice, save=False)
        dashboard.wait_for(long, *ENDED)
    assert short.status == "succeeded"
    workers = {attempt.worker_id for attempt in Attempt.objects.filter(job__in=(long, short))}
    assert len(workers) == 2


def test_two_slots_run_two_jobs_at_once(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", "--slots", "2", pool=pool) as agent:
        jobs = [dashboard.submit(f"steps=100 step_ms=50 #{n}", pool=pool) for n in range(2)]
        wait_until(lambda: len(agent.below("tests.fake_trainer")) == 2, what="two trainers")
        for job in jobs:
            cancel_job(job, by=dashboard.cast.alice, save=False)
            dashboard.wait_for(job, "cancelled")
    assert {attempt.slot for attempt in Attempt.objects.filter(job__in=jobs)} == {0, 1}


def test_a_draining_worker_finishes_and_takes_nothing_new(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        worker = Worker.objects.get(pool=pool)
        first = dashboard.submit("steps=60 step_ms=20", pool=pool)
        dashboard.wait_for_step(first, 1)
        drain_worker(worker)
        wait_until(lambda: "takes nothing new" in agent.said, what="the agent hears of it")
        second = dashboard.submit("steps=2", pool=pool)
        dashboard.wait_for(first, "succeeded")
        seen = Worker.objects.get(pk=worker.pk).last_seen_at
        wait_until(lambda: Worker.objects.get(pk=worker.pk).last_seen_at > seen + timedelta(seconds=2), what="four more heartbeats")
        second.refresh_from_db()
        assert second.status == "queued"
        enable_worker(worker)
        dashboard.wait_for(second, "succeeded")


def test_a_killed_slot_loses_its_trainer_and_comes_back(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        job = dashboard.submit("steps=100 step_ms=20 orphan=1", pool=pool)
        trainer = agent.trainer()
        dashboard.wait_for_step(job, 2)
        orphans = agent.below("time.sleep(600)")
        next(process for process in agent.below("celery") if process.ppid() == agent.process.pid).kill()
        wait_until(lambda: is_over(trainer), what="the trainer's end", seconds=3)
        wait_until(lambda: all(is_over(orphan) for orphan in orphans), what="the end of what the trainer started")
        dashboard.wait_for(job, "succeeded")
    assert [attempt.status for attempt in Attempt.objects.filter(job=job).order_by("number")] == ["lost", "succeeded"]


def test_nothing_outlives_a_killed_supervisor(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        job = dashboard.submit("steps=2000 step_ms=20", pool=pool)
        agent.trainer()
        below = agent.below()
        assert len(below) >= 3, "Celery's two processes and the trainer"
        os.kill(agent.process.pid, signal.SIGKILL)
        wait_until(lambda: all(is_over(process) for process in below), what="the end of all below", seconds=5)
    cancel_job(job, by=dashboard.cast.alice, save=False)
    dashboard.wait_for(job, "cancelled")


def test_sigterm_gives_the_job_back_and_leaves_nothing_running(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    undisturbed = "steps=60 step_ms=1"
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        plain = dashboard.wait_for(dashboard.submit(undisturbed, pool=pool), *ENDED)
        job = dashboard.submit("steps=60 step_ms=40 orphan=1", pool=pool)
        dashboard.wait_for_step(job, 3)
        below = agent.below()
        agent.process.terminate()
        assert agent.process.wait(25) == 0
        assert all(is_over(process) for process in below)
    job.refresh_from_db()
    assert (job.status, job.retries) == ("queued", 0), "draining does not count"
    kept = Checkpoint.objects.get(job=job)
    with dashboard.worker(tmp_path / "elsewhere", "--name", "other", pool=pool):
        dashboard.wait_for(job, *ENDED)
    assert job.status == "succeeded"
    assert Attempt.objects.get(job=job, number=2).first_step == kept.step
    assert digest(job) == digest(plain)


def test_a_slot_that_waits_for_rings_drains_too(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """Celery's processes, woken by a ring and not by their own clock."""
    with dashboard.worker(tmp_path / "w", pool=pool, NIBBLE_POLL_SECONDS="600") as agent:
        wait_until(lambda: "ready." in agent.said, what="Celery is ready")
        job = dashboard.submit("steps=5000 step_ms=20", pool=pool)
        dashboard.wait_for_step(job, 3)
        assert agent.below("celery"), "Celery runs it"
        agent.process.terminate()
        assert agent.process.wait(25) == 0
    job.refresh_from_db()
    assert (job.status, Attempt.objects.get(job=job).end_cause) == ("queued", "drained")
    cancel_job(job, by=dashboard.cast.alice, save=False)
