"""Datasets asked for, and the CPU worker's part."""

from django.test import Client

from webapp.datasets.fetching import FETCH
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task


def newest() -> DatasetVersion:
    return DatasetVersion.objects.latest("pk")


def run(version: DatasetVersion) -> DatasetTask:
    """What the CPU worker does when it is rung."""
    task = version.tasks.get(kind=FETCH)
    run_task(task.pk, runners=RUNNERS)
    task.refresh_from_db()
    return task


def ask(client: Client, kind: str, **fields: str) -> DatasetVersion:
    reply = client.post(f"/datasets/fetch/{kind}/", fields)
    assert reply.status_code == 302, reply.content.decode()
    assert reply["Location"] == f"/datasets/{newest().dataset_id}/"
    return newest()
