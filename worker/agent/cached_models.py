"""Base models that Nibble itself fetched from the Hub, and when a run last used them.

Models that somebody else put into the Hub's cache, or into the folder of models, are not ours to remove.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.agent.run_directories import is_in_use, run_folders

FOLDER = "base_models"


@dataclass(frozen=True)
class CachedModel:
    note: Path
    """A file named like the model's folder that holds its path; its time is that of the last use."""
    folder: Path

    @property
    def last_used(self) -> float:
        return self.note.stat().st_mtime

    @property
    def size_bytes(self) -> int:
        return size_of(self.folder)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.note.unlink(missing_ok=True)


def note_use(data: Path, snapshot: Path, *, was_fetched: bool) -> None:
    """`snapshot` is what the Hub's library gave: …/models--organisation--name/snapshots/COMMIT."""
    folder = snapshot.parent.parent
    if not folder.name.startswith("models--"):
        return
    note = data / FOLDER / folder.name
    if was_fetched:
        note.parent.mkdir(exist_ok=True)
        note.write_text(str(folder))
    elif note.exists():
        os.utime(note)


def cached_models(data: Path) -> list[CachedModel]:
    """The longest unused first."""
    notes = [note for note in (data / FOLDER).glob("models--*") if note.is_file()]
    found = [CachedModel(note, Path(note.read_text())) for note in notes]
    return sorted((model for model in found if model.folder.is_dir()), key=lambda model: model.last_used)


def unused(models: list[CachedModel], *, data: Path) -> list[CachedModel]:
    """Those that no running job reads."""
    used = {(run / "model").resolve() for run in run_folders(data) if is_in_use(run) and (run / "model").is_symlink()}
    return [model for model in models if not any(path.is_relative_to(model.folder.resolve()) for path in used)]


@contextmanager
def linking(data: Path) -> Iterator[None]:
    """While a run looks for its model or fetches it, none is removed."""
    with _locked(data, fcntl.LOCK_SH):
        yield


@contextmanager
def removing(data: Path) -> Iterator[bool]:
    """Whether models may be removed now."""
    with _locked(data, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_ours:
        yield is_ours


@contextmanager
def _locked(data: Path, how: int) -> Iterator[bool]:
    with (data / "base_models.lock").open("a") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
            return
        yield True


def size_of(folder: Path) -> int:
    """Bytes on disk, hard links once; what vanishes meanwhile is not counted."""
    found: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(place) / name).lstat()
            except OSError:
                continue
            found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())
