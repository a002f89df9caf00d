"""What the CPU worker can do with a version, by kind of task."""

from typing import Any

from django.db import transaction

from webapp.datasets.arriving import Arrived, Checked, check_files, seconds_for
from webapp.datasets.derived import TRANSFORM, run_transform
from webapp.datasets.differences import DIFF, run_diff
from webapp.datasets.fetching import FETCH, run_fetch
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.near_duplicates import NEAR_DUPLICATES, run_search
from webapp.datasets.processes import Say, TaskFailed
from webapp.datasets.services import CHECK
from webapp.datasets.store import store_lock
from webapp.datasets.tasks import Run
from webapp.datasets.token_tasks import STATISTICS, run_statistics


def run_check(task: DatasetTask, say: Say) -> dict[str, Any]:
    """The version gets its rows file, its problems file and its report, all three or none."""
    version = task.version
    files = [Arrived(path=file.path, name=file.name, sha256=file.sha256, split=file.split) for file in version.files.all()]
    with check_files(files, mapping=version.mapping, seconds=seconds_for(version.size_bytes), say=say) as checked:
        say(None)
        _keep(version, checked)
    if checked.report.refusal and checked.report.refusal.kind == "unreadable":
        raise TaskFailed(checked.report.refusal.reason)
    return {}


def _keep(version: DatasetVersion, checked: Checked) -> None:
    """Of a version that was deleted meanwhile nothing stays behind."""
    waiting = DatasetVersion.objects.filter(pk=version.pk, state=DatasetVersion.State.CHECKING)
    with store_lock(), transaction.atomic():
        if waiting.update(**checked.findings()):
            checked.settle()


RUNNERS: dict[str, Run] = {
    CHECK: run_check,
    FETCH: run_fetch,
    NEAR_DUPLICATES: run_search,
    TRANSFORM: run_transform,
    DIFF: run_diff,
    STATISTICS: run_statistics,
}
