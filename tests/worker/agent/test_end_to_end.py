"""The agent against the real dashboard: join, ring, claim, train (scripted), upload; and what goes wrong on the way."""

import json
import os
import re
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.dashboard import ENDED, Agent, Dashboard
from webapp.adapters.models import Adapter
from webapp.jobs.models import Attempt, Checkpoint, Job, JobEvent
from webapp.jobs.services import cancel_job, pause_job, resume_job
from webapp.pools.models import JoinToken, Worker, WorkerPool
from webapp.pools.services import drain_worker, enable_worker, new_join_token, revoke_worker

LEASE_SECONDS = 3  # a worker that was killed is missed soon


@dataclass(frozen=True)
class Host:
    """One worker that serves the tests about single jobs, one after the other."""

    pool: WorkerPool
    agent: Agent


@pytest.fixture(scope="module")
def host(dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    pool = dashboard.new_pool("shared")
    with dashboard.worker(
        tmp_path_factory.mktemp("shared"), pool=pool, NIBBLE_DISCARD_SECONDS="0.5", NIBBLE_GRACE_SECONDS="0.5"
    ) as agent:
        yield Host(pool, agent)


def logs(job: Job) -> list[str]:
    return [event.data["text"] for event in JobEvent.objects.filter(job=job, kind="log").order_by("cursor")]


def test_it_works(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.wait_for(dashboard.submit("steps=5", pool=host.pool), *ENDED)
    assert (job.status, job.failure) == ("succeeded", None)
    adapter = Adapter.objects.get(job=job)
    assert {file["name"] for file in adapter.files} == {"adapter_model.safetensors", "adapter_config.json"}
    assert json.loads((dashboard.folder / "adapters" / str(job.pk) / "adapter_config.json").read_text())["peft_type"] == "LORA"
    steps = [event.data["step"] for event in JobEvent.objects.filter(job=job, kind="metrics").order_by("cursor")]
    assert steps == [1, 2, 3, 4, 5]
    phases = [event.data["phase"] for event in JobEvent.objects.filter(job=job, kind="phase").order_by("cursor")]
    assert phases == [
        "fetching the dataset",
        "fetching the base model",
        "starting the trainer",
        "Training",
        "uploading the adapter",
    ]
    assert "step 5 loss 2.6667" in logs(job)


def test_run_directories_end_small(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool, NIBBLE_KEPT_RUNS="2"):
        jobs = [dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded") for _ in range(3)]
        runs = tmp_path / "w" / "runs"
        wait_until(lambda: (runs / f"job-{jobs[-1].pk}-attempt-1" / "ended").exists(), what="the end of the last run")
        assert sorted(path.name for path in runs.iterdir()) == [f"job-{job.pk}-attempt-1" for job in jobs[1:]]
        names = {path.name for path in (runs / f"job-{jobs[-1].pk}-attempt-1").iterdir()}
    assert names == {"order.json", "events.jsonl", "alive", "ended"}


def test_secrets_stay_out_of_the_run_directory_and_the_command_lines(
    dashboard: Dashboard, pool: WorkerPool, tmp_path: Path
) -> None:
    dashboard.cast.base_model.hub_token = "hf_canary"
    dashboard.cast.base_model.save()
    try:
        with dashboard.worker(tmp_path / "w", pool=pool) as agent:
            job = dashboard.submit("steps=500 step_ms=20", pool=pool)
            trainer = agent.trainer()
            secrets = ["hf_canary", "for%20tests%20only", json.loads((tmp_path / "w" / "worker.json").read_text())["worker_token"]]
            lines = [" ".join(process.cmdline()) for process in [psutil.Process(agent.process.pid), *agent.below()]]
            environment = json.dumps(trainer.environ())
            run = tmp_path / "w" / "runs" / f"job-{job.pk}-attempt-1"
            order = (run / "order.json").read_text()
            for secret in secrets:
                assert secret not in order
                assert secret not in environment
                assert not any(secret in line for line in lines)
                assert secret not in agent.said
            assert trainer.environ()["HF_HUB_OFFLINE"] == "1"
            assert Path(trainer.cwd()) == run
            cancel_job(job, by=dashboard.cast.alice, save=False)
            dashboard.wait_for(job, "cancelled")
    finally:
        dashboard.cast.base_model.hub_token = ""
        dashboard.cast.base_model.save()


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


def digest(job: Job) -> str:
    """The scripted trainer's sum over all steps, as the attempt that finished told it."""
    return next(text for text in reversed(logs(job)) if text.startswith("digest "))


def test_a_killed_trainer_goes_on_from_its_checkpoint(dashboard: Dashboard, host: Host) -> None:
    undisturbed = dashboard.wait_for(dashboard.submit("steps=60 step_ms=1", pool=host.pool), *ENDED)
    job = dashboard.submit("steps=60 step_ms=30 save=10", pool=host.pool)
    wait_until(lambda: Checkpoint.objects.filter(job=job).exists(), what="a checkpoint on the dashboard")
    host.agent.trainer().kill()
    dashboard.wait_for(job, *ENDED)
    assert job.status == "succeeded"
    first, second = Attempt.objects.filter(job=job).order_by("number")
    assert (first.status, first.end_cause) == ("failed", "trainer_killed")
    assert second.first_step >= 10
    assert digest(job) == digest(undisturbed), "step for step as if nothing had been"


@pytest.mark.parametrize(
    ("script", "cause", "words"),
    [
        ("steps=9 exit=3@4", "trainer_killed", "ended with exit code 3 at step 4 without saying why"),
        ("steps=9 torn=3 always=1", "trainer_killed", "killed by signal 9 (SIGKILL) at step 3"),
        ("steps=9 xid=2 always=1", "node_trouble", "The GPU failed at step 2: NVRM: Xid"),
    ],
)
def test_what_the_machine_did_is_said_and_tried_again(
    dashboard: Dashboard, pool: WorkerPool, tmp_path: Path, script: str, cause: str, words: str
) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool):
        job = dashboard.submit(script, pool=pool)
        wait_until(lambda: Attempt.objects.filter(job=job).exclude(end_cause="").exists(), what="the end of an attempt")
        cancel_job(job, by=dashboard.cast.alice, save=False)
        dashboard.wait_for(job, *ENDED)
    assert Attempt.objects.filter(job=job)[0].end_cause == cause
    assert any(words in json.dumps(event.data) for event in JobEvent.objects.filter(job=job)), words


def test_what_the_job_did_is_said_and_not_tried_again(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.wait_for(dashboard.submit("steps=9 nan=2", pool=host.pool), *ENDED)
    assert job.failure is not None
    assert (job.status, job.failure["cause"], job.failure["step"], job.failure["rows"]) == ("failed", "diverged", 2, [2, 1])
    assert Attempt.objects.filter(job=job).count() == 1
    again = dashboard.wait_for(dashboard.submit("steps=1", pool=host.pool), *ENDED)
    assert again.status == "succeeded", "the slot takes the next job"


def test_a_paused_job_resumes(dashboard: Dashboard, host: Host) -> None:
    undisturbed = dashboard.wait_for(dashboard.submit("steps=60 step_ms=1", pool=host.pool), *ENDED)
    job = dashboard.submit("steps=60 step_ms=30", pool=host.pool)
    dashboard.wait_for_step(job, 5)
    pause_job(job, by=dashboard.cast.alice)
    dashboard.wait_for(job, "paused")
    kept = Checkpoint.objects.get(job=job)
    resume_job(job, by=dashboard.cast.alice)
    dashboard.wait_for(job, *ENDED)
    assert job.status == "succeeded"
    assert Attempt.objects.get(job=job, number=2).first_step == kept.step >= 5
    assert digest(job) == digest(undisturbed)


def test_out_of_memory_is_mended_within_the_attempt(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.wait_for(dashboard.submit("steps=5 oom_rows=1", pool=host.pool), *ENDED)
    assert job.status == "succeeded"
    assert Attempt.objects.filter(job=job).count() == 1
    assert JobEvent.objects.filter(job=job, kind="replanned").exists()


def test_cancel_and_save(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.submit("steps=2000 step_ms=20", pool=host.pool)
    dashboard.wait_for_step(job, 2)
    cancel_job(job, by=dashboard.cast.alice, save=True)
    dashboard.wait_for(job, *ENDED)
    assert job.status == "cancelled"
    assert Adapter.objects.get(job=job).is_partial


def test_cancel_and_discard(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.submit("steps=2000 step_ms=20", pool=host.pool)
    dashboard.wait_for_step(job, 2)
    cancel_job(job, by=dashboard.cast.alice, save=False)
    dashboard.wait_for(job, *ENDED)
    wait_until(lambda: not host.agent.below("tests.fake_trainer"), what="the trainer's end")
    assert job.status == "cancelled"
    assert not Adapter.objects.filter(job=job).exists()


def test_a_trainer_that_does_not_stop_is_ended(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.submit("steps=5000 step_ms=20 deaf=1 orphan=1", pool=host.pool)
    dashboard.wait_for_step(job, 2)
    orphans = host.agent.below("time.sleep(600)")
    assert orphans
    cancel_job(job, by=dashboard.cast.alice, save=False)
    dashboard.wait_for(job, *ENDED, seconds=40)
    assert job.status == "cancelled"
    assert all(is_over(orphan) for orphan in orphans)


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


def test_many_lines_are_capped_and_counted(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.wait_for(dashboard.submit("steps=3 spam=20000", pool=host.pool), *ENDED)
    assert job.status == "succeeded"
    dropped = sum(
        int(found.group(1).replace(",", "")) for text in logs(job) if (found := re.match(r"… ([\d,]+) lines? dropped", text))
    )
    spam_and_steps = [text for text in logs(job) if re.match(r"(spam|step) \d", text)]
    assert dropped + len(spam_and_steps) == 20_003
    assert logs(job)[-1].startswith("step 3")
