"""Which column of a dataset is what: the first rows as a choice reads them, and the version that the choice makes."""

from django.db import transaction

from webapp.accounts.models import User
from webapp.datasets.arriving import Arrival, Arrived, arriving
from webapp.datasets.errors import DeletedMeanwhile, FileRefused, MappedMeanwhile, SameMapping
from webapp.datasets.models import DatasetVersion
from webapp.datasets.processes import TaskFailed, report_in, run_in, task_folder
from webapp.datasets.services import add_arrival, check_anew
from webapp.datasets.store import store_lock
from worker.contract.dataset_tasks import SourceFile, TryReport, TryTask
from worker.contract.mapping import Mapping
from worker.contract.rows_report import FileRefusal

TRY_SECONDS = 20.0
Unsure = DatasetVersion.State.UNSURE


def try_on(version: DatasetVersion, *, mapping: Mapping | None) -> TryReport:
    """The first rows as they are recognised, or as the mapping says. Raises FileRefused when they cannot be read."""
    files = tuple(version.files.all())
    sources = tuple(SourceFile(path=f"source-{file.place}", name=file.name, split=file.split) for file in files)
    with task_folder(TryTask(files=sources, mapping=mapping.model_dump() if mapping else None)) as folder:
        for file, source in zip(files, sources, strict=True):
            (folder / source.path).symlink_to(file.path)
        try:
            report = report_in(run_in(folder, seconds=TRY_SECONDS), kind=TryReport)
        except TaskFailed as failed:
            raise FileRefused(
                FileRefusal(kind="unreadable", reason=f"The first rows could not be read. {failed}"[:2000])
            ) from failed
    if report.refusal:
        raise FileRefused(report.refusal)
    return report


def map_version(version: DatasetVersion, *, mapping: Mapping, by: User) -> DatasetVersion:
    """The version itself while nobody could tell what its columns are, else a new one beside it: versions never change."""
    chosen = mapping.model_dump(mode="json")
    if version.mapping == chosen:
        raise SameMapping(version.number)
    files = [Arrived(path=file.path, name=file.name, sha256=file.sha256, split=file.split) for file in version.files.all()]
    with arriving(files, mapping=chosen) as arrival, store_lock(), transaction.atomic():
        if not DatasetVersion.objects.filter(pk=version.pk).exists():
            raise DeletedMeanwhile(str(version))
        if version.state == Unsure:
            return _settled(version, arrival, chosen=chosen)
        made = add_arrival(version.dataset, arrival, by=by, origin=DatasetVersion.Origin.MAPPED)
        made.parents.add(version)
        DatasetVersion.objects.filter(pk=made.pk).update(mapping=chosen, recipe={"mapping_of": version.number})
    made.refresh_from_db()
    return made


def _settled(version: DatasetVersion, arrival: Arrival, *, chosen: dict[str, object]) -> DatasetVersion:
    """In a transaction and under the store's lock. Of two who choose at once the first one's choice stays."""
    found = arrival.checked.findings() if arrival.checked else {"state": DatasetVersion.State.CHECKING, "report": None}
    if not DatasetVersion.objects.filter(pk=version.pk, state=Unsure).update(mapping=chosen, **found):
        raise MappedMeanwhile
    if arrival.checked:
        arrival.checked.settle()
    else:
        check_anew(version)  # the check without a mapping is over and done
    version.refresh_from_db()
    return version
