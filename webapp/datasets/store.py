"""The bytes of datasets, stored under their hash: the same file twice lies there once."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_path(sha256: str) -> Path:
    return Path(settings.DATASETS_DIR) / sha256[:2] / sha256


@contextmanager
def store_lock() -> Iterator[None]:
    """Held while a file and the row that names it come or go together: else a delete could take the file of an upload's new row."""
    with (Path(settings.DATASETS_DIR) / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(source: Path, *, sha256: str) -> None:
    """Durable once it returns. The name appears with all the bytes or not at all."""
    target = stored_path(sha256)
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(f".{sha256}.{uuid.uuid4().hex}")
    try:
        _link_or_copy(source, part)
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def forget(sha256: str) -> None:
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
