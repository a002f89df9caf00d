"""Moves an attempt's files to where they are kept, adapters and checkpoints alike: all of them or none, and again without harm."""

import errno
import hashlib
import os
import shutil
import uuid
from pathlib import Path

from worker.contract.orders import ArtifactFile


class BadArtifact(Exception):
    """A file is not what the worker announced."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}. Send the file again, then finish.")
        self.name = name


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sizes(folder: Path, *, files: tuple[ArtifactFile, ...]) -> None:
    seen: set[str] = set()
    for file in files:
        path = folder / file.name
        if file.name in seen:
            raise BadArtifact(file.name, "is named twice")
        seen.add(file.name)
        if path.is_symlink() or not path.is_file():
            raise BadArtifact(file.name, "has not arrived")
        if path.stat().st_size != file.size_bytes:
            raise BadArtifact(file.name, f"has {path.stat().st_size:,} bytes instead of {file.size_bytes:,}")


def check_hashes(folder: Path, *, files: tuple[ArtifactFile, ...]) -> None:
    """Reads every byte: call it before a transaction, not in one."""
    check_sizes(folder, files=files)
    for file in files:
        if sha256_of(folder / file.name) != file.sha256:
            raise BadArtifact(file.name, "has other bytes than its checksum says")


def place(source: Path, *, target: Path, files: tuple[ArtifactFile, ...]) -> None:
    """Links the files into a folder aside and renames it. `source` stays whole until the caller has committed, so a retry can start over."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    part.mkdir(parents=True, mode=0o750)
    try:
        for file in files:
            _link(source / file.name, part / file.name)
        _sync(part)
        _swap(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _swap(part: Path, target: Path) -> None:
    """A folder that is there already is left from a finish that was not committed."""
    if target.exists():
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        target.rename(old)
        part.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        part.rename(target)
    _sync(target.parent)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)  # another file system, or one without links


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        if path.is_dir() and path != folder:
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
