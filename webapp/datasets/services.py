"""Writes of datasets: what arrives becomes immutable versions, and datasets go when no job needs them."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from webapp.accounts.models import User
from webapp.datasets.arriving import Arrival, Arrived, arriving, hash_of_hashes
from webapp.datasets.errors import DatasetInUse, DatasetNameTaken, DeletedMeanwhile, SameBytes
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion, SourceFile
from webapp.datasets.selectors import jobs_count, jobs_on
from webapp.datasets.store import forget_unnamed, hashes_of, store_lock
from webapp.datasets.tasks import begin_again, start_task

NAMED_JOBS = 5
CHECK = "check"


def create_dataset(files: Sequence[Arrived], *, name: str, owner: User) -> DatasetVersion:
    """Raises DatasetRefusal; then nothing is stored."""
    if Dataset.objects.filter(team_id=owner.team_id, name=name).exists():
        raise DatasetNameTaken(name)  # before the file is read: a taken name is the quicker thing to say
    with arriving(files) as arrival, store_lock(), transaction.atomic():
        return add_arrival(new_dataset(name=name, owner=owner), arrival, by=owner)


def add_version(dataset: Dataset, files: Sequence[Arrived], *, by: User) -> DatasetVersion:
    with arriving(files) as arrival, store_lock(), transaction.atomic():
        sha256 = hash_of_hashes([file.sha256 for _, file in arrival.files])
        if same := dataset.versions.filter(sha256=sha256, mapping__isnull=True).first():
            raise SameBytes(same.number)
        return add_arrival(dataset, arrival, by=by)


def new_dataset(*, name: str, owner: User) -> Dataset:
    try:
        with transaction.atomic():
            return Dataset.objects.create(team_id=owner.team_id, owner=owner, name=name)
    except IntegrityError:
        raise DatasetNameTaken(name) from None


def next_number(dataset: Dataset) -> int:
    newest = dataset.versions.order_by("-number").first()
    return newest.number + 1 if newest else 1


def add_arrival(dataset: Dataset, arrival: Arrival, *, by: User, origin: str = DatasetVersion.Origin.UPLOADED) -> DatasetVersion:
    """In a transaction and under the store's lock: the bytes are in place before a row names them."""
    if not Dataset.objects.filter(pk=dataset.pk).exists():
        raise DeletedMeanwhile(dataset.name)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=next_number(dataset), created_by=by, origin=origin, file_name=_name_of(arrival)
    )
    fill(version, arrival)
    return version


def fill(version: DatasetVersion, arrival: Arrival) -> None:
    """Gives a version its sources, and their report or somebody who makes it. As add_arrival. Raises DeletedMeanwhile."""
    for place, (file, held) in enumerate(arrival.files):
        about = {"name": file.name, "split": file.split, "sha256": held.sha256, "size_bytes": held.size_bytes}
        SourceFile.objects.create(version=version, place=place, **about)
    found = arrival.checked.findings() if arrival.checked else {}
    sha256 = hash_of_hashes([held.sha256 for _, held in arrival.files])
    size_bytes = sum(held.size_bytes for _, held in arrival.files)
    changes = {"sha256": sha256, "size_bytes": size_bytes, "file_name": _name_of(arrival), **found}
    if not DatasetVersion.objects.filter(pk=version.pk).update(**changes):
        raise DeletedMeanwhile(str(version))
    version.refresh_from_db()
    arrival.settle()
    if not arrival.checked:
        start_task(version, kind=CHECK)


def _name_of(arrival: Arrival) -> str:
    return arrival.files[0][0].name if len(arrival.files) == 1 else f"{len(arrival.files)} files"


def check_again(version: DatasetVersion) -> None:
    """For a version that was not finished; bytes never change, so a finished one stays as it is."""
    unread = DatasetVersion.objects.filter(pk=version.pk, state=DatasetVersion.State.PROBLEMS, report__refusal__kind="unreadable")
    with transaction.atomic():
        if unread.update(state=DatasetVersion.State.CHECKING, report=None):
            check_anew(version)
            return
        stuck = version.tasks.filter(version__state=DatasetVersion.State.CHECKING, state=DatasetTask.State.FAILED)
        for task in stuck.exclude(kind="fetch"):
            begin_again(task)


def check_anew(version: DatasetVersion) -> None:
    """In a transaction that has put it back to being checked."""
    version.tasks.filter(kind=CHECK).delete()
    start_task(version, kind=CHECK)


def rename_dataset(dataset: Dataset, *, name: str) -> None:
    try:
        with transaction.atomic():
            Dataset.objects.filter(pk=dataset.pk).update(name=name)
    except IntegrityError:
        raise DatasetNameTaken(name) from None


def delete_dataset(dataset: Dataset, *, by: User) -> None:
    """Raises DatasetInUse. Bytes that another dataset shares stay."""
    with store_lock():
        hashes = hashes_of(dataset.versions.all())
        try:
            with transaction.atomic():
                dataset.delete()
        except (ProtectedError, IntegrityError):
            jobs = jobs_on(dataset, user=by)
            raise DatasetInUse([str(job) for job in jobs[:NAMED_JOBS]], count=jobs_count(dataset)) from None
        forget_unnamed(hashes)
