"""Checkpoints: complete or absent, each with a manifest of its files and of the settings it was made with, the newest two kept."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract.events import CheckpointSaved
from worker.qlora.figures import FIGURES, Figures, read_figures, write_figures
from worker.qlora.files import folder_bytes, publish_folder, sha256_of
from worker.qlora.settings import Settings, differences

KEPT = 2
MANIFEST = "manifest.json"
NAME = re.compile(r"checkpoint-(\d+)")
WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")  # one of them
# transformers goes on without any of the last four, with other weights in the end and without a word.
NEEDED = (FIGURES, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


@dataclass(frozen=True)
class Checkpoint:
    """One that was verified."""

    step: int
    folder: Path
    figures: Figures
    made_by: dict[str, Any]


class Unusable(Exception):
    """A checkpoint that must not be trained from."""

    def __init__(self, reason: str, *, file: str = "", by_settings: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.file, self.by_settings = reason, file, by_settings


def unfinished_folder(checkpoints: Path) -> Path:
    """Where transformers writes its checkpoint-N until it is whole."""
    return checkpoints.with_name(f"{checkpoints.name}.part")


def publish_checkpoint(
    checkpoints: Path, *, step: int, figures: Figures, settings: Settings, made_by: dict[str, Any]
) -> CheckpointSaved:
    part = unfinished_folder(checkpoints) / f"checkpoint-{step}"
    final = checkpoints / part.name
    write_figures(part, figures)
    write_manifest(part, step=step, settings=settings, made_by=made_by)
    checkpoints.mkdir(parents=True, exist_ok=True)
    if final.exists():  # whole, since those that are not carry another name, and of the same step
        shutil.rmtree(part)
    else:
        publish_folder(part, final=final)
    return CheckpointSaved(step=step, size_bytes=folder_bytes(final))


def write_manifest(folder: Path, *, step: int, settings: Settings, made_by: dict[str, Any]) -> None:
    files = {
        str(path.relative_to(folder)): {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content = {"step": step, "files": files, "settings": settings, "made_by": made_by}
    (folder / MANIFEST).write_text(json.dumps({**content, "seal": _seal(content)}, indent=1), encoding="utf-8")


def _seal(content: dict[str, Any]) -> str:
    """Tells a damaged manifest from one of other settings."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def verify(folder: Path, *, settings: Settings) -> Checkpoint:
    """The checkpoint if every byte of it is as it was written and it belongs to this run; raises Unusable if not."""
    manifest = _read_manifest(folder)
    step = step_of(folder)
    if manifest["step"] != step:
        raise Unusable(f"it is named for step {step}, but its manifest is of step {manifest['step']}", file=MANIFEST)
    _verify_files(folder, files=manifest["files"])
    if differing := differences(manifest["settings"], settings):
        raise Unusable(f"it was made with other settings: {differing}", by_settings=True)
    try:
        figures = read_figures(folder)
    except ValueError as error:
        said = "a newer version of the worker wrote it: update this machine's worker"
        raise Unusable(said, file=FIGURES, by_settings=True) from error
    return Checkpoint(step=step, folder=folder, figures=figures, made_by=manifest["made_by"])


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        seal = manifest.pop("seal")
    except FileNotFoundError as error:
        raise Unusable("it has no manifest, so it was not written to its end", file=MANIFEST) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unusable("its manifest cannot be read", file=MANIFEST) from error
    if seal != _seal(manifest):
        raise Unusable("its manifest was changed after it was written", file=MANIFEST)
    return dict(manifest)


def _verify_files(folder: Path, *, files: dict[str, dict[str, Any]]) -> None:
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    for name in sorted({*files, *NEEDED} - present):
        raise Unusable(f"{name} is missing", file=name)
    if not present & set(WEIGHTS):
        raise Unusable("it has no weights", file=WEIGHTS[0])
    for name in sorted(present - set(files)):
        raise Unusable(f"{name} does not belong to it", file=name)
    for name, told in files.items():
        path = folder / name
        if path.stat().st_size != told["size_bytes"]:
            raise Unusable(f"{name} has {path.stat().st_size} bytes instead of {told['size_bytes']}", file=name)
        if sha256_of(path) != told["sha256"]:
            raise Unusable(f"{name} was changed after it was written: its SHA-256 differs", file=name)


def step_of(folder: Path) -> int:
    match = NAME.fullmatch(folder.name)
    assert match is not None, folder
    return int(match[1])


def newest_first(checkpoints: Path) -> list[Path]:
    found = [folder for folder in checkpoints.glob("checkpoint-*") if folder.is_dir() and NAME.fullmatch(folder.name)]
    return sorted(found, key=step_of, reverse=True)


def rotate_checkpoints(checkpoints: Path) -> None:
    """Called after a new one is whole; those that were rejected carry another name."""
    for folder in newest_first(checkpoints)[KEPT:]:
        shutil.rmtree(folder)
