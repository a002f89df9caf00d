"""Quantised copies of base models: trainers write and read them through a link in the run directory; here they are counted and evicted."""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from worker.agent.cached_models import CachedModel
from worker.contract.orders import HostPolicy
from worker.contract.run_directory import RunDirectory

FOLDER = "quantised"
MANIFEST = "manifest.json"  # touched by every run that reads the weights
IN_USE_SECONDS = 600.0  # reading takes seconds, on a slow disk minutes
UNFINISHED_SECONDS = 3600.0
UNUSED_DAYS = 30.0  # they can be made again, and another version of a library never reads them
ROOM = 2.0  # times the disk that must stay free, as where the agent begins to warn


def is_wanted() -> bool:
    return os.environ.get("NIBBLE_KEEP_QUANTISED", "1") != "0"


def link(run: RunDirectory, *, data: Path, policy: HostPolicy) -> None:
    """Not on a disk that is short: a copy is at most as large as its model."""
    if not is_wanted():
        return
    size = sum(path.stat().st_size for path in run.model.glob("*.safetensors"))
    if shutil.disk_usage(data).free < ROOM * policy.min_free_disk_bytes + size:
        return
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    run.quantised.unlink(missing_ok=True)
    run.quantised.symlink_to(folder)


def kept(data: Path) -> list[CachedModel]:
    """The longest unused first."""
    notes = [note for note in (data / FOLDER).glob(f"*/{MANIFEST}") if not note.parent.name.startswith(".")]
    return sorted((CachedModel(note, note.parent) for note in notes), key=lambda each: each.last_used)


def not_in_use(copies: Iterable[CachedModel]) -> list[CachedModel]:
    return [each for each in copies if time.time() - each.last_used > IN_USE_SECONDS]


def stale(data: Path, *, policy: HostPolicy) -> list[CachedModel]:
    """Those that nobody used for a month; all of them when the disk is short."""
    is_short = shutil.disk_usage(data).free < policy.min_free_disk_bytes
    longest = 0.0 if is_short else UNUSED_DAYS * 86400
    return [each for each in not_in_use(kept(data)) if time.time() - each.last_used > longest]


def clear_unfinished(data: Path) -> None:
    """What a trainer that was killed left."""
    for part in (data / FOLDER).glob(".*.part"):
        if time.time() - part.stat().st_mtime > UNFINISHED_SECONDS:
            shutil.rmtree(part, ignore_errors=True)
