"""Real training, killed: a tiny Llama under QLoRA on the CPU ends with the adapter of an undisturbed run, byte by byte."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.cluster import Clocks, Cluster
from tests.worker.qlora.runs import EXACT, make_tiny_model
from webapp.adapters.models import Adapter
from webapp.jobs.models import Checkpoint, Job, JobEvent
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=6)
STEPS, SAVED_EVERY = 240, 8  # some seconds on a quiet machine: a shorter run was over before its first checkpoint was seen
REAL = {"NIBBLE_TRAINER_MODULE": "worker.qlora"}
SPEC: dict[str, Any] = dict(EXACT)
TRAINING: dict[str, Any] = {
    **SPEC["training"],
    "max_steps": STEPS,
    "save_steps": SAVED_EVERY,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


def submit(cluster: Cluster, pool: WorkerPool, model: Path, name: str) -> Job:
    cluster.cast.base_model.name_or_path = str(model)
    cluster.cast.base_model.save()
    blocks = {"lora": SPEC["lora"] | {"lora_dropout": 0.1}, "quantization": SPEC["quantization"], "optimizer": SPEC["optimizer"]}
    return cluster.submit(name, pool=pool, training=TRAINING, **blocks)


def newest_checkpoint(cluster: Cluster, job: Job, *, after: int, seconds: float = 90) -> int:
    """Its step, once there is one on the dashboard beyond `after`: older ones are skipped when training is faster than sending."""
    saved = Checkpoint.objects.filter(job=job, step__gt=after).order_by("-step").values_list("step", flat=True)
    return int(cluster.until(saved.first, what=f"a checkpoint after step {after}", seconds=seconds))


def losses(job: Job) -> dict[int, float]:
    """By step; what a later attempt told wins."""
    told = JobEvent.objects.filter(job=job, kind="metrics").order_by("cursor").values_list("data", flat=True)
    return {data["step"]: data["loss"] for data in told if data.get("loss") is not None}


def weights(job: Job) -> str:
    files = {file["name"]: file["sha256"] for file in Adapter.objects.get(job=job).files}
    return str(files["adapter_model.safetensors"])


def test_f01_a_killed_trainer_and_a_killed_worker(cluster: Cluster, pool: WorkerPool, tiny_model: Path) -> None:
    """One run is left alone. One loses its trainer, and then its machine: another machine goes on from the dashboard's checkpoint.

    Dropout 0.1, two passes a step: the same losses step by step, and the same weights to the last bit.
    """
    first = cluster.join("first", pool=pool, environment=REAL)
    first.start()
    disturbed = submit(cluster, pool, tiny_model, "disturbed")
    first_saved = newest_checkpoint(cluster, disturbed, after=0)
    first.trainer(disturbed).kill()
    second = cluster.join("second", pool=pool, environment=REAL)
    second.cable.refuse()
    second.start()
    second_saved = newest_checkpoint(cluster, disturbed, after=first_saved, seconds=120)
    first.kill()
    second.cable.mend()
    undisturbed = submit(cluster, pool, tiny_model, "undisturbed")
    assert cluster.wait_for(disturbed, seconds=150).status == "succeeded"
    assert cluster.wait_for(undisturbed, seconds=150).status == "succeeded"
    attempts = cluster.attempts(disturbed)
    assert [attempt.status for attempt in attempts] == ["failed", "lost", "succeeded"]
    assert attempts[1].first_step >= first_saved
    assert attempts[2].first_step >= second_saved
    assert attempts[2].worker_id == second.worker_id
    assert sorted(losses(disturbed)) == list(range(1, STEPS + 1))
    assert losses(disturbed) == losses(undisturbed)
    assert weights(disturbed) == weights(undisturbed)
