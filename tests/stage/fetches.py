"""Datasets from elsewhere: one that is on its way, one that asks which part of it is meant."""

from django.utils import timezone

from tests.cast import Cast
from webapp.datasets.fetching import start_fetch
from webapp.datasets.models import DatasetVersion
from webapp.datasets.open_hosts import open_host
from worker.contract.fetching import FetchSecrets, HubDataset, WebAddress


def fetching(cast: Cast) -> DatasetVersion:
    source = WebAddress(address="https://data.example.org/exports/calls-2026.jsonl.zst")
    version = start_fetch(source, secrets=FetchSecrets(), name="calls-2026", owner=cast.alice)
    progress = {"done": 1_342_177_280, "total": 4_831_838_208, "unit": "bytes", "words": "", "sample": None}
    version.tasks.update(state="running", runs=1, progress=progress, beat_at=timezone.now())
    open_host("minio.example.org:9000", by=cast.ada)
    return version


def not_fetched(cast: Cast) -> DatasetVersion:
    source = HubDataset(endpoint="https://huggingface.co", name="openai/gsm8k")
    version = start_fetch(source, secrets=FetchSecrets(), name="gsm8k", owner=cast.alice)
    problem = "openai/gsm8k has several configurations. Name the configuration: main, socratic."
    version.tasks.update(state="failed", problem=problem)
    DatasetVersion.objects.filter(pk=version.pk).update(state="problems")
    return version
