"""Checkpoints: complete or absent, each with a manifest of its files, the newest two kept."""

import json
import shutil
from pathlib import Path

from worker.contract.events import CheckpointSaved
from worker.qlora.files import folder_bytes, publish_folder, sha256_of

KEPT = 2
MANIFEST = "manifest.json"


def unfinished_folder(checkpoints: Path) -> Path:
    """Where transformers writes its checkpoint-N until it is whole."""
    return checkpoints.with_name(f"{checkpoints.name}.part")


def publish_checkpoint(checkpoints: Path, *, step: int) -> CheckpointSaved:
    part = unfinished_folder(checkpoints) / f"checkpoint-{step}"
    final = checkpoints / part.name
    write_manifest(part, step=step)
    checkpoints.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    publish_folder(part, final=final)
    return CheckpointSaved(step=step, size_bytes=folder_bytes(final))


def write_manifest(folder: Path, *, step: int) -> None:
    files = {
        str(path.relative_to(folder)): {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"step": step, "files": files}, indent=2), encoding="utf-8")


def rotate_checkpoints(checkpoints: Path) -> None:
    whole = sorted(
        (folder for folder in checkpoints.glob("checkpoint-*") if (folder / MANIFEST).is_file()),
        key=lambda folder: int(folder.name.rpartition("-")[2]),
    )
    for folder in whole[:-KEPT]:
        shutil.rmtree(folder)
