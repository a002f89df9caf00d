"""Run directories: made for an attempt, made small when it has ended, and the oldest removed."""

import json
import os
import shutil
import time
from pathlib import Path

from worker.agent.checkpoints import newest_in
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory

ABANDONED_SECONDS = 120.0
CHECKPOINT_SECONDS = 24 * 3600.0  # a job that comes back to this machine within a day finds its checkpoint here
BIG = (
    "dataset.jsonl",
    ".dataset.part",
    "model",
    "quantised",
    "adapter",
    "adapter.part",
    "checkpoints.part",
    "resume.part",
    "outbox",
)


def runs_folder(data: Path) -> Path:
    return data / "runs"


def data_of(run: RunDirectory) -> Path:
    """The worker's data folder."""
    return run.path.parent.parent


def run_folders(data: Path) -> list[Path]:
    folder = runs_folder(data)
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def open_run(data: Path, order: WorkOrder) -> RunDirectory:
    """A fresh folder. One that is there already is of a claim whose reply was lost and whose number came again."""
    path = runs_folder(data) / f"job-{order.job_id}-attempt-{order.attempt_number}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
    run = RunDirectory(path)
    run.events.touch(mode=0o600)
    run.alive.touch(mode=0o600)
    write_order(run, order)
    return run


def write_order(run: RunDirectory, order: WorkOrder) -> None:
    """Without the Hub token: the trainer has no network and no need of it."""
    run.order.write_text(json.dumps(order.model_dump(mode="json", exclude={"hub_token"}), indent=1) + "\n")


def write_stop(run: RunDirectory, wish: str) -> None:
    part = run.stop.with_name(".stop.part")
    part.write_text(wish)
    part.replace(run.stop)


def forget_stop(run: RunDirectory) -> None:
    """Before another trainer starts in the same directory; it is told what is wished then."""
    run.stop.unlink(missing_ok=True)


def slim(run: RunDirectory, *, keep_checkpoint: bool = False) -> None:
    """Keeps order and events for a look, and the newest checkpoint if its job may come back; everything big goes."""
    for name in BIG:
        _remove(run.path / name)
    newest = newest_in(run.checkpoints) if keep_checkpoint else None
    if newest is None:
        _remove(run.checkpoints)
        return
    for path in run.checkpoints.iterdir():
        if path != newest.path:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def prune(data: Path, *, keep: int, days: float = float("inf")) -> None:
    """Slims what a killed agent left behind, and removes all but the newest `keep` runs, and those older than `days`.

    Runs in use are left alone. Checkpoints of ended ones stay a day, in case their job comes back to this machine.
    """
    ended = [path for path in run_folders(data) if not is_in_use(path)]
    for path in ended:
        slim(RunDirectory(path), keep_checkpoint=age(path) < min(CHECKPOINT_SECONDS, days * 86400))
    for path in to_remove(ended, keep=keep, days=days):
        shutil.rmtree(path, ignore_errors=True)


def to_remove(ended: list[Path], *, keep: int, days: float) -> list[Path]:
    newest_first = sorted(ended, key=age)
    return [path for place, path in enumerate(newest_first) if place >= keep or age(path) > days * 86400]


def drop_older_checkpoints(data: Path, *, order: WorkOrder) -> None:
    """Of earlier attempts of the same job: the attempt that starts now has its own."""
    for path in runs_folder(data).glob(f"job-{order.job_id}-attempt-*"):
        if not is_in_use(path):
            _remove(RunDirectory(path).checkpoints)


def is_in_use(path: Path) -> bool:
    return age(path) < ABANDONED_SECONDS and not (path / "ended").exists()


def age(path: Path) -> float:
    try:
        return time.time() - (path / "alive").stat().st_mtime
    except OSError:
        return float("inf")


def mark_ended(run: RunDirectory) -> None:
    (run.path / "ended").touch()
    os.utime(run.alive)
