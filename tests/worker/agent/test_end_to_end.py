"""Jobs at the real dashboard: claimed, trained (scripted), uploaded; and what goes wrong with them on the way."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.cast import SHAPE
from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.dashboard import ENDED, Agent, Dashboard
from tests.worker.agent.job_logs import digest, logs
from tests.worker.agent.tiny_model import write_model
from webapp.adapters.models import Adapter
from webapp.catalog.models import BaseModel
from webapp.jobs.models import Attempt, Checkpoint, JobEvent
from webapp.jobs.services import cancel_job, pause_job, resume_job
from webapp.pools.models import WorkerPool

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


def test_many_lines_are_capped_and_counted(dashboard: Dashboard, host: Host) -> None:
    job = dashboard.wait_for(dashboard.submit("steps=3 spam=20000", pool=host.pool), *ENDED)
    assert job.status == "succeeded"
    dropped = sum(
        int(found.group(1).replace(",", "")) for text in logs(job) if (found := re.match(r"… ([\d,]+) lines? dropped", text))
    )
    spam_and_steps = [text for text in logs(job) if re.match(r"(spam|step) \d", text)]
    assert dropped + len(spam_and_steps) == 20_003
    assert logs(job)[-1].startswith("step 3")


def test_a_models_tokenizer_comes_to_the_dashboard(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """Of one that nobody has looked at, and of one that an older worker has."""
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text('{"model": {}}')
    about = {"source": "folder", "name_or_path": str(folder)}
    new = BaseModel.objects.create(name="new", **about)
    seen = BaseModel.objects.create(name="seen", state="ready", shape=SHAPE, **about)

    def hashes() -> set[str]:
        return set(BaseModel.objects.filter(pk__in=(new.pk, seen.pk)).values_list("tokenizer_sha256", flat=True))

    with dashboard.worker(tmp_path / "w", pool=pool):
        wait_until(lambda: "" not in hashes(), what="both tokenizers")
    (sha256,) = hashes()
    kept = dashboard.folder / "tokenizers" / sha256
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        name: (folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")
    }
    new.refresh_from_db()
    assert new.state == "ready"
