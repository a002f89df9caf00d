"""Work on versions that takes longer than a request: started once a key, run by the CPU worker, rung for again when it was lost."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from webapp.accounts.models import User
from webapp.celeryapp import ring_dataset_task
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.processes import Say, TaskFailed
from worker.contract.dataset_tasks import Progress

logger = logging.getLogger(__name__)
RING_AFTER = timedelta(seconds=15)  # a ring that was heard is acted on within a second or two
SILENCE = timedelta(seconds=60)  # whoever runs a task is heard of every BEAT_SECONDS
BEAT_SECONDS = 2.0
MOST_RUNS = 3  # a task that takes its worker down with it is not tried for ever

State = DatasetTask.State
Run = Callable[[DatasetTask, Say], dict[str, Any]]
"""Does the work and returns the result; raises TaskFailed with the sentence for the page."""


class Superseded(Exception):
    """Somebody else has taken the task on meanwhile, or it is gone."""


class Postponed(Exception):
    """Not now: it waits, and is rung for again."""


def start_task(
    version: DatasetVersion, *, kind: str, key: str = "", params: dict[str, Any] | None = None, by: User | None = None
) -> DatasetTask:
    """The task of that kind and key, begun now unless it is there already. One that failed is begun again."""
    with transaction.atomic():
        values = {"params": params or {}, "created_by": by}
        task, is_new = DatasetTask.objects.get_or_create(version=version, kind=kind, key=key, defaults=values)
        if is_new or task.state == State.FAILED:
            begin_again(task)
    return task


def begin_again(task: DatasetTask) -> None:
    """For a task that failed, or was never run. One that runs goes on undisturbed."""
    idle = DatasetTask.objects.filter(pk=task.pk, state__in=(State.WAITING, State.FAILED))
    idle.update(state=State.WAITING, runs=0, progress=None, problem="", ended_at=None)
    task.refresh_from_db()
    transaction.on_commit(partial(ring_dataset_task, task.pk))


def run_task(task_id: int, *, runners: dict[str, Run]) -> None:
    """The CPU worker's. Two that are rung for one task: the UPDATE lets one of them in."""
    taken = _takeable().filter(pk=task_id).update(state=State.RUNNING, runs=F("runs") + 1, beat_at=Now())
    if not taken:
        return
    task = DatasetTask.objects.select_related("version__dataset").get(pk=task_id)
    mine = DatasetTask.objects.filter(pk=task_id, runs=task.runs, state=State.RUNNING)
    try:
        result = runners[task.kind](task, beating(mine))
    except Superseded:
        return
    except Postponed:
        mine.update(state=State.WAITING, runs=F("runs") - 1)
    except TaskFailed as failed:
        _fail(mine, str(failed))
    except Exception as error:
        logger.exception("Task %s: %s", task_id, task)
        _fail(mine, f"It failed unexpectedly ({type(error).__name__}). Try it again; an administrator finds more in the log.")
    else:
        mine.update(state=State.DONE, result=result, ended_at=Now())


def beating(mine: QuerySet[DatasetTask]) -> Say:
    """Writes progress, and every BEAT_SECONDS a sign of life. Raises Superseded when the task is not ours any more."""
    import time

    last = time.monotonic()

    def say(progress: Progress | None) -> None:
        nonlocal last
        if progress is None and time.monotonic() - last < BEAT_SECONDS:
            return
        last = time.monotonic()
        news = {} if progress is None else {"progress": progress.model_dump(mode="json")}
        if not mine.update(beat_at=Now(), **news):
            raise Superseded

    return say


def _fail(mine: QuerySet[DatasetTask], why: str) -> None:
    mine.update(state=State.FAILED, problem=why[:2000], ended_at=Now())


def _takeable() -> QuerySet[DatasetTask]:
    silent = Q(state=State.RUNNING, beat_at__lt=Now() - SILENCE, runs__lt=MOST_RUNS)
    return DatasetTask.objects.filter(Q(state=State.WAITING) | silent)


def lost_tasks() -> list[DatasetTask]:
    """Whose ring was lost, or whose worker died: the reaper rings for them again."""
    return list(_takeable().exclude(state=State.WAITING, created_at__gt=Now() - RING_AFTER).order_by("pk")[:100])


def give_up_lost() -> int:
    """Tasks whose worker died MOST_RUNS times. Returns how many."""
    dead = DatasetTask.objects.filter(state=State.RUNNING, beat_at__lt=Now() - SILENCE, runs__gte=MOST_RUNS)
    return dead.update(state=State.FAILED, problem=f"Its process died {MOST_RUNS} times. Try a smaller file.", ended_at=Now())
