"""Datasets from elsewhere: a version that waits for its bytes, the process that brings them, and another try."""

import os
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from webapp.accounts.models import User
from webapp.datasets.arriving import Arrived, arriving
from webapp.datasets.errors import DatasetRefusal, FileRefused
from webapp.datasets.models import DatasetTask, DatasetVersion, FetchSecret
from webapp.datasets.open_hosts import open_hosts
from webapp.datasets.processes import Say, TaskFailed, run_in, task_folder
from webapp.datasets.services import fill, new_dataset
from webapp.datasets.store import store_lock
from webapp.datasets.tasks import SILENCE, Postponed, Superseded, begin_again, start_task
from webapp.text import plain_line
from worker.contract.fetching import FetchReport, FetchSecrets, FetchSource, FetchTask, HubDataset, S3Object

FETCH = "fetch"
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
State = DatasetTask.State


def start_fetch(source: FetchSource, *, secrets: FetchSecrets, name: str, owner: User) -> DatasetVersion:
    """A dataset whose first version waits for its bytes. A fetch of the same name that failed is taken up again."""
    if failed := _failed_fetch(name=name, owner=owner):
        return fetch_again(failed, source, secrets=secrets, by=owner)
    with transaction.atomic():
        dataset = new_dataset(name=name, owner=owner)
        version = DatasetVersion.objects.create(
            dataset=dataset, number=1, created_by=owner, origin=DatasetVersion.Origin.FETCHED, **_about(source)
        )
        _keep(start_task(version, kind=FETCH, by=owner), secrets)
    return version


def fetch_again(version: DatasetVersion, source: FetchSource, *, secrets: FetchSecrets, by: User) -> DatasetVersion:
    """For a fetch that failed, with what was asked for or something else, and the token of `by`. One that runs goes on undisturbed."""
    with transaction.atomic():
        task = version.tasks.filter(kind=FETCH, state=State.FAILED).select_for_update().first()
        if task is not None and version.is_on_its_way:
            DatasetVersion.objects.filter(pk=version.pk).update(state=DatasetVersion.State.CHECKING, **_about(source))
            _keep(task, secrets)
            DatasetTask.objects.filter(pk=task.pk).update(created_by=by)
            begin_again(task)
    version.refresh_from_db()
    return version


def _failed_fetch(*, name: str, owner: User) -> DatasetVersion | None:
    wanted = DatasetVersion.objects.filter(dataset__name=name, dataset__owner=owner, dataset__team_id=owner.team_id)
    waiting = wanted.filter(origin=DatasetVersion.Origin.FETCHED, sha256="", number=1)
    return waiting.filter(tasks__kind=FETCH, tasks__state=State.FAILED).first()


def _about(source: FetchSource) -> dict[str, Any]:
    return {
        "recipe": {"address": shown(source), "source": source.model_dump(mode="json")},
        "file_name": plain_line(shown(source), limit=255),
    }


def shown(source: FetchSource) -> str:
    match source:
        case HubDataset():
            return source.name
        case S3Object():
            return f"s3://{source.bucket}/{source.key}"
    return source.address


def _keep(task: DatasetTask, secrets: FetchSecrets) -> None:
    FetchSecret.objects.filter(task=task).delete()
    if secrets != FetchSecrets():
        FetchSecret.objects.create(task=task, sealed=secrets.model_dump_json())


def forget_secrets() -> None:
    """Of fetches that ended: keys are kept for the fetch and no longer."""
    FetchSecret.objects.exclude(task__state__in=(State.WAITING, State.RUNNING)).delete()


def run_fetch(task: DatasetTask, say: Say) -> dict[str, Any]:
    """The version gets its files and, if they are small, their report; or it says why not, and nothing is stored."""
    _one_at_a_time(task)
    try:
        commit = _fetch(task, say)
    except (Superseded, Postponed):
        raise
    except Exception:
        waiting = DatasetVersion.objects.filter(pk=task.version_id, sha256="", state=DatasetVersion.State.CHECKING)
        waiting.update(state=DatasetVersion.State.PROBLEMS)
        FetchSecret.objects.filter(task=task).delete()
        raise
    FetchSecret.objects.filter(task=task).delete()
    return {"commit": commit}


def _one_at_a_time(task: DatasetTask) -> None:
    """The CPU worker does two things at once: a fetch of hours leaves one of them to checks and statistics."""
    others = DatasetTask.objects.filter(kind=FETCH, state=State.RUNNING, beat_at__gt=Now() - SILENCE).exclude(pk=task.pk)
    if others.filter(Q(pk__lt=task.pk) | Q(progress__isnull=False)).exists():
        raise Postponed


def _fetch(task: DatasetTask, say: Say) -> str:
    version = DatasetVersion.objects.select_related("dataset").get(pk=task.version_id)
    order = FetchTask(
        source=version.recipe["source"],
        limit_bytes=settings.MAX_DATASET_BYTES,
        keep_free_bytes=settings.MIN_FREE_BYTES,
        stall_seconds=settings.FETCH_STALL_SECONDS,
        opened=tuple(open_hosts().values_list("name", flat=True)),
    )
    environment = {name: os.environ[name] for name in CERTIFICATES if name in os.environ}
    with task_folder(order) as folder:
        said = run_in(
            folder,
            seconds=settings.FETCH_SECONDS,
            say=say,
            program="worker.fetching",
            environment=environment,
            standard_input=_secrets_of(task, order).model_dump_json().encode(),
        )
        report = FetchReport.model_validate_json(said)
        if report.failure:
            raise TaskFailed(f"{report.failure.reason} {report.failure.fix}".strip())
        files = [
            Arrived(folder / file.path, plain_line(file.name, limit=255) or "unnamed", sha256=file.sha256, split=file.split)
            for file in report.files
        ]
        _store(version, files, commit=report.commit, say=say)
    return report.commit


def _store(version: DatasetVersion, files: list[Arrived], *, commit: str, say: Say) -> None:
    """The same path as an upload's."""
    try:
        with arriving(files) as arrival, store_lock(), transaction.atomic():
            say(None)
            fill(version, arrival)
            if commit:
                DatasetVersion.objects.filter(pk=version.pk).update(recipe={**version.recipe, "commit": commit})
    except FileRefused as refused:
        raise TaskFailed(f"{refused.refusal.reason} {refused.refusal.fix}".strip()) from None
    except DatasetRefusal as refused:
        raise TaskFailed(str(refused)) from None


def _secrets_of(task: DatasetTask, order: FetchTask) -> FetchSecrets:
    """What was given with this fetch; for the Hub, the token of whoever asked for it."""
    if isinstance(order.source, HubDataset):
        user = task.created_by
        return FetchSecrets(hub_token=(user.hub_token or "") if user else "")
    kept = FetchSecret.objects.filter(task=task).first()
    return FetchSecrets.model_validate_json(kept.sealed) if kept else FetchSecrets()


def fetch_of(version: DatasetVersion) -> DatasetTask | None:
    """The fetch that a version without bytes waits for, or that failed."""
    return version.tasks.filter(kind=FETCH).first() if version.is_on_its_way else None
