"""Keeps the worker's disk in order by the administrator's policy, and tells what it would remove before it does."""

import logging
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from worker.agent import quantised_weights
from worker.agent.cached_models import CachedModel, cached_models, removing, size_of, unused
from worker.agent.pace import Pace
from worker.agent.policy import load_policy
from worker.agent.run_directories import is_in_use, prune, run_folders, to_remove
from worker.contract.orders import HostPolicy, KeptFiles

logger = logging.getLogger(__name__)
LOOK_SECONDS = 60.0
CLEAN_SECONDS = 3600.0  # so what is told as deletable can be seen, and the policy changed, before it goes
NEAR = 2.0  # times the disk that must stay free: warned of before it hurts


@dataclass(frozen=True)
class Deletable:
    """What the policy would remove now."""

    runs: tuple[Path, ...]
    models: tuple[CachedModel, ...]


def find_deletable(data: Path, *, policy: HostPolicy, pace: Pace) -> Deletable:
    ended = [path for path in run_folders(data) if not is_in_use(path)]
    runs = to_remove(ended, keep=pace.kept_runs, days=policy.keep_runs_days)
    above = _models_above(data, policy.max_cache_bytes)
    stale = [each for each in quantised_weights.stale(data, policy=policy) if each not in above]
    return Deletable(tuple(runs), (*above, *stale))


def _models_above(data: Path, most: int | None) -> list[CachedModel]:
    """The longest unused first, quantised copies among them, until the rest fits."""
    if most is None:
        return []
    models, copies = cached_models(data), quantised_weights.kept(data)
    above, found = sum(model.size_bytes for model in (*models, *copies)) - most, list[CachedModel]()
    removable = [*unused(models, data=data), *quantised_weights.not_in_use(copies)]
    for model in sorted(removable, key=lambda model: model.last_used):
        if above <= 0:
            break
        found.append(model)
        above -= model.size_bytes
    return found


def kept_files(data: Path, *, policy: HostPolicy, pace: Pace) -> tuple[KeptFiles, ...]:
    deletable, runs = find_deletable(data, policy=policy, pace=pace), run_folders(data)
    models = [*cached_models(data), *quantised_weights.kept(data)]
    return (
        KeptFiles(
            kind="runs",
            count=len(runs),
            size_bytes=sum(map(size_of, runs)),
            deletable_count=len(deletable.runs),
            deletable_bytes=sum(map(size_of, deletable.runs)),
        ),
        KeptFiles(
            kind="base_models",
            count=len(models),
            size_bytes=sum(model.size_bytes for model in models),
            deletable_count=len(deletable.models),
            deletable_bytes=sum(model.size_bytes for model in deletable.models),
        ),
    )


def clean(data: Path, *, policy: HostPolicy, pace: Pace) -> None:
    prune(data, keep=pace.kept_runs, days=policy.keep_runs_days)
    with removing(data) as is_ours:
        for model in find_deletable(data, policy=policy, pace=pace).models if is_ours else ():
            logger.info("Removing %s: the cache is above its limit, or it was not used for long.", model.folder)
            model.remove()
    quantised_weights.clear_unfinished(data)


class Housekeeper(threading.Thread):
    """Beside the heartbeat: counting the files of a large cache takes seconds."""

    def __init__(self, data: Path, *, slots: int, pace: Pace) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._data, self._slots, self._pace = data, slots, pace
        self.kept: tuple[KeptFiles, ...] = ()
        self._cleaned = time.monotonic()

    def run(self) -> None:
        while True:
            try:
                self.turn()
            except Exception:  # a folder that cannot be read must not end the worker
                logger.exception("Housekeeping")
            time.sleep(LOOK_SECONDS)

    def turn(self) -> None:
        policy = load_policy(self._data, slots=self._slots)
        is_due = time.monotonic() - self._cleaned >= CLEAN_SECONDS
        if is_due or shutil.disk_usage(self._data).free < policy.min_free_disk_bytes:
            clean(self._data, policy=policy, pace=self._pace)
            self._cleaned = time.monotonic()
        self.kept = kept_files(self._data, policy=policy, pace=self._pace)


def disk_in_words(free: int, policy: HostPolicy) -> str:
    """Empty while there is plenty."""
    least = policy.min_free_disk_bytes
    if free < least:
        return f"The disk has {_gb(free)} free, less than the {_gb(least)} that must stay: no new job is taken until it has more."
    if free < NEAR * least:
        return f"The disk has {_gb(free)} free; below {_gb(least)} no new job is taken."
    return ""


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
