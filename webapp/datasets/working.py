"""What is being done with a version right now, and how far it is, in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.templatetags.units import count, size
from worker.contract.dataset_tasks import Progress

FILLS = ("fetch", "check", "transform")
"""Kinds of tasks that a version waits for; statistics and differences are asked for later."""
DOING = {"fetch": "Fetching", "check": "Reading every row"}
DERIVING = {
    "clean": "Leaving out what cannot be used",
    "split": "Splitting",
    "sample": "Taking a sample",
    "merge": "Merging",
}
UNITS = (("B", 1), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30))
State = DatasetTask.State


@dataclass(frozen=True)
class Work:
    task: DatasetTask

    @property
    def is_failed(self) -> bool:
        return self.task.state == State.FAILED

    @property
    def may_begin_again(self) -> bool:
        """What is fetched needs keys that are not kept: its own form asks for them."""
        return self.is_failed and self.task.kind != "fetch"

    @property
    def doing(self) -> str:
        if self.task.state == State.WAITING:
            return "Waiting for its turn"
        progress = self._progress
        if progress and progress.words:
            return progress.words
        operation = self.task.params.get("operation") or {}
        return DERIVING.get(str(operation.get("kind")), DOING.get(self.task.kind, "Working on it"))

    @property
    def so_far(self) -> str:
        """ "3.1 of 10 GiB", "12,000 rows"; empty before the first news."""
        progress = self._progress
        if progress is None:
            return ""
        if progress.unit == "bytes":
            return _bytes(progress.done, of=progress.total)
        return f"{count(progress.done)} of {count(progress.total)} rows" if progress.total else f"{count(progress.done)} rows"

    @property
    def percent(self) -> int | None:
        progress = self._progress
        return min(100, 100 * progress.done // progress.total) if progress and progress.total else None

    @property
    def in_words(self) -> str:
        return f"{self.doing}: {self.so_far}" if self.so_far else self.doing

    @property
    def _progress(self) -> Progress | None:
        return Progress.model_validate(self.task.progress) if self.task.progress else None


def work_on(version: DatasetVersion) -> Work | None:
    """None for a version that waits for nothing."""
    return work_on_all([version]).get(version.pk)


def work_on_all(versions: Iterable[DatasetVersion]) -> dict[int, Work]:
    """By version: what those that are being checked wait for."""
    waiting = [version.pk for version in versions if version.state == DatasetVersion.State.CHECKING]
    tasks = DatasetTask.objects.filter(version__in=waiting, kind__in=FILLS).exclude(state=State.DONE) if waiting else ()
    return {task.version_id: Work(task) for task in tasks}


def _bytes(done: int, *, of: int | None) -> str:
    """Both in the unit of the larger one."""
    if not of:
        return size(done)
    unit, step = next((unit, step) for unit, step in reversed(UNITS) if of >= step or step == 1)
    return f"{_short(done / step)} of {_short(of / step)} {unit}"


def _short(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 or amount == int(amount) else f"{amount:,.1f}"
