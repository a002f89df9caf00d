"""Run directories: made for an attempt, made small when it has ended, and the oldest removed."""

import json
import os
import shutil
import time
from pathlib import Path

from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory

ABANDONED_SECONDS = 120.0
BIG = ("dataset.jsonl", ".dataset.part", "model", "adapter", "adapter.part", "checkpoints")


def runs_folder(data: Path) -> Path:
    return data / "runs"


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


def slim(run: RunDirectory) -> None:
    """Keeps order and events for a look; data, model link, adapter and checkpoints go."""
    for name in BIG:
        path = run.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def prune(data: Path, *, keep: int) -> None:
    """Slims what a killed agent left behind, and removes all but the newest `keep` runs. Runs in use are left alone."""
    folder = runs_folder(data)
    ended = [path for path in folder.iterdir() if not _in_use(path)] if folder.is_dir() else []
    for path in ended:
        slim(RunDirectory(path))
    for path in sorted(ended, key=_age)[keep:]:
        shutil.rmtree(path, ignore_errors=True)


def _in_use(path: Path) -> bool:
    return _age(path) < ABANDONED_SECONDS and not (path / "ended").exists()


def _age(path: Path) -> float:
    try:
        return time.time() - (path / "alive").stat().st_mtime
    except OSError:
        return float("inf")


def mark_ended(run: RunDirectory) -> None:
    (run.path / "ended").touch()
    os.utime(run.alive)
