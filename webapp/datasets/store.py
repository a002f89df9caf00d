"""The bytes of datasets, stored under their hash: the same file twice lies there once."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Q, QuerySet

from webapp.datasets.models import DatasetTask, DatasetVersion, SourceFile, stored_path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def store_lock() -> Iterator[None]:
    """Held while a file and the row that names it come or go together: else a delete could take the file of an upload's new row."""
    with (Path(settings.DATASETS_DIR) / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def staged(source: Path, *, sha256: str = "") -> Iterator["Staged"]:
    """The file beside its later place, hashed (unless whoever received it did) and durable: the slow part, before any lock."""
    sha256 = sha256 or sha256_of(source)
    target = stored_path(sha256)
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(f".{sha256}.{uuid.uuid4().hex}")
    try:
        _link_or_copy(source, part)
        _sync(part)
        yield Staged(part=part, sha256=sha256, size_bytes=part.stat().st_size)
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Staged:
    part: Path
    sha256: str
    size_bytes: int

    def settle(self) -> None:
        """The name appears with all the bytes. Bytes that lie there already are replaced by the same ones."""
        target = stored_path(self.sha256)
        self.part.replace(target)
        _sync(target.parent)


def hashes_of(versions: QuerySet[DatasetVersion]) -> set[str]:
    """Everything in the store that they name: sources, rows files, problems files, what tasks found."""
    named = versions.values_list("sha256", "rows_sha256", "problems_sha256")
    sources = SourceFile.objects.filter(version__in=versions).values_list("sha256", flat=True)
    results = DatasetTask.objects.filter(version__in=versions, result__sha256__isnull=False).values_list(
        "result__sha256", flat=True
    )
    return {sha256 for row in named for sha256 in row if sha256} | set(sources) | set(results)


def forget_unnamed(hashes: set[str]) -> None:
    """Removes those that no version names any more. Under the store's lock."""
    named = Q(sha256__in=hashes) | Q(rows_sha256__in=hashes) | Q(problems_sha256__in=hashes) | Q(files__sha256__in=hashes)
    wanted = named | Q(tasks__result__sha256__in=hashes)
    for sha256 in hashes - hashes_of(DatasetVersion.objects.filter(wanted)):
        stored_path(sha256).unlink(missing_ok=True)


def _link_or_copy(source: Path, part: Path) -> None:
    try:
        os.link(source, part)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, part)  # the upload folder is on another file system, or on one without links


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
