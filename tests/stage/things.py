"""Models, datasets and machines of the stage, in the states that pages have to show."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from tests.cast import SHAPE, Cast
from webapp.catalog.models import BaseModel
from webapp.datasets.arriving import Arrived
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.services import create_dataset
from webapp.datasets.uploads import begin_upload, opened, store_progress
from webapp.pools.models import Gpu, Worker, WorkerPool
from webapp.secrets import token_hash

GIB = 2**30
THINGS = ("the blue lamp", "a set of six cups", "the oak shelf", "my second parcel", "the spare key")
GPU_WORKER_TOKEN = "nbw_stage"
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "trl": "1.16.0", "bitsandbytes": "0.50.0"}
BIG_SHAPE = {
    **SHAPE,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "parameters": 8030261248,
    "weights_bytes": 16060522496,
}


def big_model() -> BaseModel:
    return BaseModel.objects.create(
        name="Llama 3.1 8B Instruct",
        source="hub",
        name_or_path="meta-llama/Llama-3.1-8B-Instruct",
        revision="0e9e39f249a16976918f6564b8830bc894c89659",
        state="ready",
        shape=BIG_SHAPE,
        licence="llama3.1",
    )


def models_in_other_states() -> None:
    about = {"source": "hub", "name_or_path": "mistralai/Mistral-7B-v0.3"}
    BaseModel.objects.create(name="Mistral 7B", state="checking", **about)
    problem = "The folder has no safetensors files. Pickled weights are not loaded: they can run code."
    BaseModel.objects.create(name="Old house model", source="folder", name_or_path="/models/old", state="broken", problem=problem)


def dataset(cast: Cast, name: str, *, rows: int, bad: int = 0) -> DatasetVersion:
    """Written, uploaded and checked as a user's file is."""
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / f"{name}.jsonl"
    lines = [json.dumps({"messages": ticket(number)}) for number in range(rows)] + ['{"messages": []}'] * bad
    path.write_text("\n".join(lines) + "\n")
    return create_dataset([Arrived(path, path.name)], name=name, owner=cast.alice)


def uploads_on_their_way(cast: Cast) -> None:
    """Left by Alice: one file that has arrived, one that was broken off."""
    for name, arrived, whole in (
        ("tickets-of-june.jsonl", 300_000, 300_000),
        ("chats-2019-to-2025.jsonl.gz", 2_300_000, 7_900_000),
    ):
        made = begin_upload(owner=cast.alice, name=name, size_bytes=whole)
        with opened(made) as file:
            file.append(bytes(arrived))
            store_progress(made, file)


def unsure_questions(cast: Cast) -> DatasetVersion:
    """A table whose columns nobody but its owner knows."""
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / "fragen.jsonl"
    rows = [
        {"nr": n, "frage": f"Where is {thing}?", "antwort": f"{thing.capitalize()} is on shelf {n}.".replace("My", "Your")}
        for n, thing in enumerate(THINGS, 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"nr": 6, "frage": "Anything else?", "antwort": 6}]))
    return create_dataset([Arrived(path, path.name)], name="shelf-questions", owner=cast.alice)


def answer_pairs(cast: Cast) -> DatasetVersion:
    """Pairs of a kind and a curt answer."""
    made = Dataset.objects.create(team=cast.alice.team, owner=cast.alice, name="kind-or-curt")
    about = {"file_name": "kind-or-curt.jsonl", "sha256": "b" * 64, "size_bytes": 1_900_000, "created_by": cast.alice}
    return DatasetVersion.objects.create(dataset=made, number=1, state="ready", format="preference", rows=3_200, **about)


def ticket(number: int) -> list[dict[str, str]]:
    thing, day = THINGS[number % len(THINGS)], 2 + number % 5
    return [
        {"role": "system", "content": "You answer customers of a small shop, kindly and in two sentences."},
        {"role": "user", "content": f"Hello, order {4000 + number}: {thing} has not arrived. What now?"},
        {
            "role": "assistant",
            "content": f"I am sorry about {thing}. It left our house yesterday and reaches you within {day} days.",
        },
    ]


def gpu_worker() -> Worker:
    pool = WorkerPool.objects.create(name="h100-a", description="Eight H100 in one host")
    host = {"cpu_count": 96, "memory_total_bytes": 1024 * GIB, "memory_used_bytes": 310 * GIB, "disk_free_bytes": 2800 * GIB}
    worker = Worker.objects.create(
        pool=pool,
        name="h100-a-01",
        slots=8,
        protocol=2,
        host=host,
        versions=VERSIONS,
        last_seen_at=still_there(),
        token_hash=token_hash(GPU_WORKER_TOKEN),
    )
    for index, used in enumerate((61.6, 8.2, 0.4, 22.1, 54.0, 0.4, 0.4, 0.4)):
        about = {"memory_total_bytes": 80 * GIB, "memory_used_bytes": int(used * GIB), "utilisation_percent": 98 if used > 1 else 0}
        Gpu.objects.create(worker=worker, index=index, uuid=f"GPU-{index}", name="NVIDIA H100 80GB HBM3", **about)
    return worker


def second_machine(first: Worker) -> Worker:
    """Of the same pool, with a stranger's process on one of its cards."""
    host = {**first.host, "cpu_count": 48, "disk_free_bytes": 400 * GIB, "disk_total_bytes": 900 * GIB, "kept": KEPT}
    worker = Worker.objects.create(
        pool=first.pool,
        name="h100-a-02",
        slots=4,
        host=host,
        versions=VERSIONS,
        last_seen_at=still_there(),
        token_hash="2",
        protocol=2,
    )
    for index, foreign in enumerate((0, 38, 0, 0)):
        about = {"memory_total_bytes": 80 * GIB, "memory_used_bytes": (foreign or 21) * GIB, "foreign_used_bytes": foreign * GIB}
        Gpu.objects.create(
            worker=worker, index=index, uuid=f"GPU-B{index}", name="NVIDIA H100 80GB HBM3", utilisation_percent=40, **about
        )
    return worker


def disk_runs_short(worker: Worker) -> None:
    """Only now: a worker without disk takes no job."""
    worker.host = {**worker.host, "disk_free_bytes": GIB}
    worker.save(update_fields=["host"])


KEPT = [
    {"kind": "runs", "count": 31, "size_bytes": 18 * GIB, "deletable_count": 12, "deletable_bytes": 7 * GIB},
    {"kind": "base_models", "count": 4, "size_bytes": 61 * GIB, "deletable_count": 1, "deletable_bytes": 14 * GIB},
    {"kind": "datasets", "count": 9, "size_bytes": 2 * GIB, "deletable_count": 0, "deletable_bytes": 0},
    {"kind": "logs", "count": 6, "size_bytes": GIB // 8, "deletable_count": 0, "deletable_bytes": 0},
]


def others_machines(pool: WorkerPool) -> None:
    """One that Nibble drained by itself, one that speaks an old protocol."""
    host = {"cpu_count": 32, "memory_total_bytes": 128 * GIB, "memory_used_bytes": 22 * GIB, "disk_free_bytes": 500 * GIB}
    known = {"pool": pool, "host": host, "versions": VERSIONS, "last_seen_at": still_there()}
    reason = "The GPU fell off the bus (Xid 79) (job 12, attempt 1)"
    broken = Worker.objects.create(name="a10-01", token_hash="3", state="draining", state_reason=reason, protocol=2, **known)
    old = Worker.objects.create(name="a10-02", token_hash="4", state="draining", protocol=0, **known)
    for worker in (broken, old):
        about = {"memory_total_bytes": 24 * GIB, "memory_used_bytes": GIB // 2, "utilisation_percent": 0}
        Gpu.objects.create(worker=worker, index=0, uuid=f"GPU-{worker.name}", name="NVIDIA A10G", **about)


def leftovers() -> None:
    """What broken transfers left two days ago, for the page that shows what would be deleted."""
    old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for folder, name, size in (
        (settings.FILE_UPLOAD_TEMP_DIR, "tickets-of-june.upload", 48_300_000),
        (settings.FILE_UPLOAD_TEMP_DIR, "faq.upload", 911_000),
        (settings.INCOMING_DIR, "9041-2", 84_120_000),
    ):
        path = Path(folder) / name
        path.write_bytes(b"")
        os.truncate(path, size)
        os.utime(path, (old, old))


def still_there() -> datetime:
    """Nobody sends heartbeats here, and looking at all pages takes minutes: these workers were last heard of in an hour."""
    return datetime.now(UTC) + timedelta(hours=1)


def cpu_worker(cast: Cast) -> Worker:
    cast.worker.host = {"cpu_count": 2, "memory_total_bytes": 8 * GIB, "memory_used_bytes": 3 * GIB, "disk_free_bytes": 60 * GIB}
    cast.worker.last_seen_at, cast.worker.versions = still_there(), VERSIONS
    cast.worker.save()
    return cast.worker
