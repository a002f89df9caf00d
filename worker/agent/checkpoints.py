"""Checkpoints as the agent sees them: folders of files with a manifest, whole or absent. What is in them is the trainer's matter."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from worker.contract.orders import FILE_NAME, ArtifactFile

MANIFEST = "manifest.json"
NAME = re.compile(r"checkpoint-(\d+)")


class TornCheckpoint(Exception):
    """The sentence for the log: which file is not as the manifest says."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    step: int
    path: Path

    @property
    def is_whole(self) -> bool:
        return (self.path / MANIFEST).is_file()


def checkpoints_in(folder: Path) -> list[Checkpoint]:
    """Those with a manifest, the oldest first."""
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [Checkpoint(int(match.group(1)), path) for path in paths if (match := NAME.fullmatch(path.name))]
    return sorted(each for each in found if each.is_whole)


def newest_in(folder: Path) -> Checkpoint | None:
    return next(reversed(checkpoints_in(folder)), None)


def newest_step(folder: Path) -> int:
    newest = newest_in(folder)
    return newest.step if newest else 0


def files_of(folder: Path) -> tuple[ArtifactFile, ...]:
    """All files with their hashes, which are checked against the manifest's."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    odd = [path.name for path in paths if not re.fullmatch(FILE_NAME, path.name)]
    if odd:
        raise TornCheckpoint(f"{odd[0]} has no plain name")
    files = tuple(ArtifactFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path)) for path in paths)
    wrong = _unlike_manifest(folder, {file.name: file.sha256 for file in files})
    if wrong:
        raise TornCheckpoint(f"{wrong} is not as its manifest says")
    return files


def _unlike_manifest(folder: Path, found: dict[str, str]) -> str:
    """The first name; empty when all are as told."""
    try:
        told = json.loads((folder / MANIFEST).read_text())["files"]
        return next((name for name, file in told.items() if found.get(name) != file["sha256"]), "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return MANIFEST


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
