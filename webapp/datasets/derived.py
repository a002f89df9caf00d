"""New versions out of old ones: cleaned, split, sampled, merged. Each remembers its parents and how it was made."""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from pydantic import TypeAdapter

from webapp.accounts.models import User
from webapp.datasets.arriving import seconds_for
from webapp.datasets.errors import DatasetRefusal, DeletedMeanwhile, VersionInUse
from webapp.datasets.lineage import name_of
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.processes import Say, TaskFailed, report_in, run_in, task_folder
from webapp.datasets.services import next_number
from webapp.datasets.store import Staged, forget_unnamed, hashes_of, staged, store_lock
from webapp.datasets.tasks import start_task
from worker.contract.dataset_tasks import ROWS_FILE
from worker.contract.derived import Clean, Merge, Operation, Sample, Split, TransformReport, TransformTask
from worker.contract.rows_report import FileRefusal, RowsReport

TRANSFORM = "transform"
GONE = "The rows that it was to be made of are not here any more. Delete this version, and make it of another one."
ORIGINS = {
    Clean: DatasetVersion.Origin.CLEANED,
    Split: DatasetVersion.Origin.SPLIT,
    Sample: DatasetVersion.Origin.SAMPLED,
    Merge: DatasetVersion.Origin.MERGED,
}
NAMED = 5  # users of a version that a refusal names
State = DatasetVersion.State


class CannotDerive(DatasetRefusal):
    """The sentence for the page."""

    field = ""


def use_good_rows(version: DatasetVersion, *, by: User) -> DatasetVersion:
    """A version with the same rows file and no problems: nothing is read again, and it may be trained on at once."""
    if version.state != State.PROBLEMS:
        raise CannotDerive("Every row of this version is good already.")
    with store_lock(), transaction.atomic():
        new = _new_version(version.dataset, parents=[version], operation=Clean(), by=by, left_out=version.bad_rows)
        report = RowsReport.model_validate(version.report)
        kept = report.model_copy(update={"bad_rows": 0, "problems": (), "problem_counts": {}})
        fields = {"rows_sha256": version.rows_sha256, "rows_bytes": version.rows_bytes, "rows": version.rows}
        about = {"state": State.READY, "format": version.format, "report": kept.model_dump(mode="json")}
        DatasetVersion.objects.filter(pk=new.pk).update(**fields, **about)
    new.refresh_from_db()
    return new


def derive(versions: Sequence[DatasetVersion], operation: Operation, *, into: Dataset, by: User) -> DatasetVersion:
    """Begins the new version; the CPU worker fills it. Raises CannotDerive for what can be told at once, or DeletedMeanwhile."""
    with store_lock(), transaction.atomic():
        new = _new_version(into, parents=versions, operation=operation, by=by)
        params = {"operation": operation.model_dump(mode="json"), "versions": [version.pk for version in versions]}
        start_task(new, kind=TRANSFORM, params=params, by=by)
    return new


def _check_parents(parents: Sequence[DatasetVersion]) -> None:
    for version in parents:
        if not version.rows_sha256:
            raise CannotDerive(f"{version} has no rows that can be used yet.")
        if not DatasetVersion.objects.filter(pk=version.pk).exists():
            raise DeletedMeanwhile(str(version))
    if len({version.format for version in parents}) > 1:
        raise CannotDerive("The versions have different shapes of rows, so they cannot be merged into one.")


def _new_version(
    dataset: Dataset, *, parents: Sequence[DatasetVersion], operation: Operation, by: User, left_out: int | None = None
) -> DatasetVersion:
    """In a transaction and under the store's lock: numbers follow each other, and no parent goes meanwhile."""
    _check_parents(parents)
    recipe: dict[str, Any] = operation.model_dump(mode="json", exclude={"leave_out"})
    recipe |= {} if left_out is None else {"left_out": left_out}
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=next_number(dataset),
        created_by=by,
        origin=ORIGINS[type(operation)],
        recipe=recipe,
        file_name="rows.jsonl",
    )
    version.parents.set(parents)
    return version


def run_transform(task: DatasetTask, say: Say) -> dict[str, Any]:
    """The CPU worker's. What cannot be done is said by the version itself."""
    parents = {version.pk: version for version in DatasetVersion.objects.filter(pk__in=task.params["versions"])}
    sources = [parents[pk] for pk in task.params["versions"] if pk in parents and parents[pk].rows_path.is_file()]
    if len(sources) < len(task.params["versions"]):
        raise TaskFailed(GONE)
    operation = TypeAdapter[Any](Operation).validate_python(task.params["operation"])
    names = tuple(f"rows-{place}" for place in range(len(sources)))
    with task_folder(TransformTask(files=names, operation=operation)) as folder:
        for name, version in zip(names, sources, strict=True):
            (folder / name).symlink_to(version.rows_path)
        seconds = seconds_for(sum(version.rows_bytes for version in sources))
        report = report_in(run_in(folder, seconds=seconds, say=say), kind=TransformReport)
        if report.problem:
            _refuse(task.version, report.problem)
            raise TaskFailed(report.problem)
        say(None)
        with staged(folder / ROWS_FILE) as file:
            _keep(task.version, report, file)
    return report.model_dump(mode="json")


def _keep(version: DatasetVersion, report: TransformReport, file: Staged) -> None:
    kept = RowsReport(format=report.format, rows=report.rows, splits=report.splits)
    found = {"state": State.READY, "format": report.format, "rows": report.rows, "report": kept.model_dump(mode="json")}
    about = {"rows_sha256": file.sha256, "rows_bytes": file.size_bytes, "recipe": {**version.recipe, "left_out": report.left_out}}
    with store_lock(), transaction.atomic():
        if DatasetVersion.objects.filter(pk=version.pk, state=State.CHECKING).update(**found, **about):
            file.settle()


def _refuse(version: DatasetVersion, why: str) -> None:
    report = RowsReport(refusal=FileRefusal(kind="no_rows", reason=why, fix="Delete this version, and try it another way."))
    waiting = DatasetVersion.objects.filter(pk=version.pk, state=State.CHECKING)
    waiting.update(state=State.PROBLEMS, report=report.model_dump(mode="json"))


def delete_version(version: DatasetVersion) -> None:
    """Raises VersionInUse: jobs name it, versions were made of it, or it is the dataset's only one."""
    with store_lock():
        children = version.children.select_related("dataset")[:NAMED]
        users = [str(job) for job in version.jobs.all()[:NAMED]] + [name_of(child, seen_from=version) for child in children]
        if users:
            raise VersionInUse(users)
        if version.dataset.versions.count() == 1:
            raise CannotDerive("It is the only version: delete the whole dataset instead.")
        hashes = hashes_of(DatasetVersion.objects.filter(pk=version.pk))
        try:
            with transaction.atomic():
                version.delete()
        except (ProtectedError, IntegrityError):
            raise VersionInUse(["what has just been begun with it"]) from None
        forget_unnamed(hashes)
