"""The zip of an adapter: built aside once, stored without compression (weights do not shrink), then sent like any file."""

import os
import uuid
import zipfile
from pathlib import Path

from webapp.artifacts import BadArtifact, check_hashes
from worker.contract.orders import ArtifactFile

CHECKSUMS = "checksums.txt"
ZIP_NAME = ".adapter.zip"  # hidden: beside the files, yet not one of them
FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip

__all__ = ["BadArtifact", "archive_of", "checksums"]


def checksums(files: tuple[ArtifactFile, ...]) -> str:
    """As sha256sum writes them: `sha256sum -c checksums.txt` checks a download."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files if file.name != CHECKSUMS)


def archive_of(folder: Path, *, files: tuple[ArtifactFile, ...]) -> Path:
    """Raises BadArtifact when a file is no longer what was published."""
    target = folder / ZIP_NAME
    if not target.exists():
        check_hashes(folder, files=files)
        _build(folder, files=files, target=target)
    return target


def _build(folder: Path, *, files: tuple[ArtifactFile, ...], target: Path) -> None:
    part = folder / f"{ZIP_NAME}.{uuid.uuid4().hex}"
    try:
        with part.open("xb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for file in files:
                    if file.name != CHECKSUMS:
                        _add(archive, folder / file.name)
                archive.writestr(_entry(CHECKSUMS), checksums(files))
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, path: Path) -> None:
    entry = _entry(path.name)
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as out:
        while block := source.read(1 << 20):
            out.write(block)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, FIXED_TIME)
    entry.external_attr = 0o644 << 16
    return entry
