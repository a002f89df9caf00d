"""Writes of datasets: uploads become immutable versions, versions get their report, datasets go when no job needs them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q
from django.db.models.functions import Now

from webapp.accounts.models import User
from webapp.celeryapp import ring_dataset_check
from webapp.datasets.checking import check_file, check_head, within_budget
from webapp.datasets.errors import DatasetInUse, DatasetNameTaken, FileRefused, FileTooLarge, NoRoom, SameBytes
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.selectors import CHECK_SECONDS, TAKEN_ON_ANEW, jobs_count, jobs_on
from webapp.datasets.store import Staged, forget, staged, store_lock
from webapp.templatetags.units import size
from worker.contract.rows_report import RowsReport

CHECKED_AT_ONCE_BYTES = 32 * 2**20  # about a second; larger files are the CPU worker's
AT_ONCE_SECONDS = 60.0
NAMED_JOBS = 5


@dataclass(frozen=True)
class Upload:
    """A file that has arrived and belongs to nobody yet. `name` is for display."""

    path: Path
    name: str


def create_dataset(upload: Upload, *, name: str, owner: User) -> DatasetVersion:
    if Dataset.objects.filter(team_id=owner.team_id, name=name).exists():
        raise DatasetNameTaken(name)  # before the file is read: a taken name is the quicker thing to say
    report = look_at(upload)
    with _staged(upload) as file, store_lock(), transaction.atomic():
        try:
            with transaction.atomic():
                dataset = Dataset.objects.create(team_id=owner.team_id, owner=owner, name=name)
        except IntegrityError:
            raise DatasetNameTaken(name) from None
        return _add_version(dataset, file, name=upload.name, by=owner, report=report)


def add_version(dataset: Dataset, upload: Upload, *, by: User) -> DatasetVersion:
    report = look_at(upload)
    with _staged(upload) as file, store_lock(), transaction.atomic():
        if same := dataset.versions.filter(sha256=file.sha256).first():
            raise SameBytes(same.number)
        return _add_version(dataset, file, name=upload.name, by=by, report=report)


@contextmanager
def _staged(upload: Upload) -> Iterator[Staged]:
    try:
        with staged(upload.path) as file:
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom from None
        raise


def look_at(upload: Upload) -> RowsReport | None:
    """Refuses what can be refused before anything is stored. The report, if the file is small enough to be read now."""
    bytes_ = upload.path.stat().st_size
    if bytes_ > settings.MAX_DATASET_BYTES:
        raise FileTooLarge(limit=size(settings.MAX_DATASET_BYTES))
    if bytes_ > CHECKED_AT_ONCE_BYTES:
        if refusal := check_head(upload.path, seconds=AT_ONCE_SECONDS):
            raise FileRefused(refusal)
        return None
    report = check_file(upload.path, seconds=AT_ONCE_SECONDS)
    if report.refusal:
        raise FileRefused(report.refusal)
    return report


def _add_version(dataset: Dataset, file: Staged, *, name: str, by: User, report: RowsReport | None) -> DatasetVersion:
    """In a transaction and under the store's lock: the bytes are in place before a row names them."""
    file.settle()
    newest = dataset.versions.order_by("-number").first()
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=newest.number + 1 if newest else 1,
        file_name=name,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        created_by=by,
        **(_findings(report) if report else {}),
    )
    if report is None:
        transaction.on_commit(partial(ring_dataset_check, version.pk))
    return version


def _findings(report: RowsReport) -> dict[str, Any]:
    is_clean = report.refusal is None and report.bad_rows == 0
    return {
        "state": DatasetVersion.State.READY if is_clean else DatasetVersion.State.PROBLEMS,
        "format": report.format or "",
        "rows": report.rows,
        "report": within_budget(report).model_dump(mode="json"),
    }


def check_version(version_id: int) -> None:
    """The CPU worker's task. Two that are rung for one version: the UPDATE lets one of them in."""
    waiting = DatasetVersion.objects.filter(pk=version_id, state=DatasetVersion.State.CHECKING)
    nobody_at_it = Q(check_started_at=None) | Q(check_started_at__lt=Now() - TAKEN_ON_ANEW)
    if not waiting.filter(nobody_at_it).update(check_started_at=Now()):
        return
    report = check_file(waiting.get().path, seconds=CHECK_SECONDS)
    waiting.update(**_findings(report))


def check_again(version: DatasetVersion) -> None:
    """For a check that did not come to an end; bytes never change, so a finished one stays as it is."""
    unfinished = DatasetVersion.objects.filter(
        pk=version.pk, state=DatasetVersion.State.PROBLEMS, report__refusal__kind="unreadable"
    )
    with transaction.atomic():
        if unfinished.update(state=DatasetVersion.State.CHECKING, check_started_at=None, report=None):
            transaction.on_commit(partial(ring_dataset_check, version.pk))


def rename_dataset(dataset: Dataset, *, name: str) -> None:
    try:
        with transaction.atomic():
            Dataset.objects.filter(pk=dataset.pk).update(name=name)
    except IntegrityError:
        raise DatasetNameTaken(name) from None


def delete_dataset(dataset: Dataset, *, by: User) -> None:
    """Raises DatasetInUse. Bytes that another dataset shares stay."""
    with store_lock():
        hashes = set(dataset.versions.values_list("sha256", flat=True))
        try:
            with transaction.atomic():
                dataset.delete()
        except (ProtectedError, IntegrityError):
            jobs = jobs_on(dataset, user=by)
            raise DatasetInUse([str(job) for job in jobs[:NAMED_JOBS]], count=jobs_count(dataset)) from None
        for sha256 in hashes - set(DatasetVersion.objects.filter(sha256__in=hashes).values_list("sha256", flat=True)):
            forget(sha256)
