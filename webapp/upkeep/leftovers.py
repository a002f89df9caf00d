"""What may go, kind by kind: found here, deleted one by one. Nothing of a job that lives, and never a published adapter."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from webapp.adapters.models import Adapter
from webapp.catalog.models import BaseModel
from webapp.datasets.models import Upload
from webapp.datasets.uploads import drop_expired, expired_uploads
from webapp.jobs.checkpoints import checkpoints_of, delete_checkpoints, is_needed, surplus
from webapp.jobs.clock import database_now
from webapp.jobs.events import tell
from webapp.jobs.models import ENDED_JOB, OPEN_ATTEMPT, Attempt, Checkpoint, Job, JobEvent
from webapp.upkeep.models import UpkeepPolicy

REST_SECONDS = 24 * 3600.0
"""What a crash or a broken upload left is kept for a day: somebody may be looking at it, or still sending."""
THINNED = ("log", "memory")
ROWS_AT_ONCE = 5000  # SQLite lets nobody else write meanwhile


@dataclass(frozen=True)
class Deletable:
    name: str
    size_bytes: int
    delete: Callable[[], None]


@dataclass(frozen=True)
class Kind:
    key: str
    label: str
    why: str
    find: Callable[[UpkeepPolicy], Iterator[Deletable]]


def old_checkpoints(policy: UpkeepPolicy) -> Iterator[Deletable]:
    """Of ended jobs: what their rule no longer keeps, and all of them after the days of the policy."""
    before = database_now() - timedelta(days=policy.keep_checkpoints_days)
    for job in Job.objects.filter(status__in=ENDED_JOB, checkpoints__isnull=False).distinct():
        is_old = job.ended_at is not None and job.ended_at < before
        for checkpoint in checkpoints_of(job) if is_old else surplus(job):
            if not is_needed(checkpoint):
                yield Deletable(
                    f"step {checkpoint.step} of job {job.pk}", checkpoint.size_bytes, partial(_delete_checkpoint, checkpoint)
                )


def _delete_checkpoint(checkpoint: Checkpoint) -> None:
    """A retry may have been submitted since it was found."""
    if not is_needed(checkpoint):
        delete_checkpoints([checkpoint])


def lost_checkpoint_folders(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    known = {str(pk) for pk in Checkpoint.objects.values_list("pk", flat=True)}
    yield from _rests(Path(settings.CHECKPOINTS_DIR), lambda path: path.name not in known)


def incoming(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    """`ATTEMPT-FENCE` and `ATTEMPT-FENCE-checkpoint-STEP` of attempts that are closed."""
    living = {str(pk) for pk in Attempt.objects.filter(status__in=OPEN_ATTEMPT).values_list("pk", flat=True)}
    yield from _rests(Path(settings.INCOMING_DIR), lambda path: path.name.partition("-")[0] not in living)


def uploads(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    yield from _rests(Path(settings.FILE_UPLOAD_TEMP_DIR), lambda _: True)
    for folder in (path for path in Path(settings.DATASETS_DIR).iterdir() if path.is_dir()):
        yield from _rests(folder, lambda path: path.name.startswith("."))


def broken_off(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    """Uploads in pieces that nobody went on with, and their files that no row knows."""
    for upload in expired_uploads():
        yield Deletable(upload.name, upload.offset_bytes, partial(drop_expired, upload))
    known = {str(pk) for pk in Upload.objects.values_list("pk", flat=True)}
    yield from _rests(Path(settings.DATASETS_DIR) / "uploads", lambda path: path.name not in known)


def adapter_rests(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    """Staging folders, and folders of ended jobs that no adapter names: their crash was between the files and the row."""
    published = set(Adapter.objects.values_list("job_id", flat=True))
    ended = set(Job.objects.filter(status__in=ENDED_JOB).values_list("pk", flat=True)) - published
    names = {str(pk) for pk in ended}
    yield from _rests(Path(settings.ADAPTERS_DIR), lambda path: path.name.startswith(".") or path.name in names)


def tokenizers(_policy: UpkeepPolicy) -> Iterator[Deletable]:
    """A removed model's, or an older one's of a model that was looked at again. Asked once more: a report may name it by now."""
    for rest in _rests(Path(settings.TOKENIZERS_DIR), lambda path: not _is_named(path.name)):
        yield Deletable(rest.name, rest.size_bytes, partial(_remove_tokenizer, rest))


def _remove_tokenizer(rest: Deletable) -> None:
    if not _is_named(rest.name):
        rest.delete()


def _is_named(sha256: str) -> bool:
    return BaseModel.objects.filter(tokenizer_sha256=sha256).exists()


def old_logs(policy: UpkeepPolicy) -> Iterator[Deletable]:
    if policy.keep_logs_days is None:
        return
    before = database_now() - timedelta(days=policy.keep_logs_days)
    rows = Exists(JobEvent.objects.filter(job=OuterRef("pk"), kind__in=THINNED))
    for job in Job.objects.filter(rows, status__in=ENDED_JOB, ended_at__lt=before):
        yield Deletable(f"log of job {job.pk}", int(job.progress.get("log_bytes", 0)), partial(_thin_log, job))


def _thin_log(job: Job) -> None:
    rows = JobEvent.objects.filter(job=job.pk, kind__in=THINNED)
    while _delete_some(rows):
        pass
    tell(job.pk, "notice", {"text": "The log and the memory samples were removed by housekeeping; everything else stays."})


def _delete_some(rows: QuerySet[JobEvent]) -> bool:
    some = list(rows.values_list("pk", flat=True)[:ROWS_AT_ONCE])
    JobEvent.objects.filter(pk__in=some).delete()
    return bool(some)


def _rests(folder: Path, may_go: Callable[[Path], bool]) -> Iterator[Deletable]:
    """What lies in the folder, may go and was not touched for a day."""
    before = time.time() - REST_SECONDS
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name == ".lock" or not may_go(path):
            continue
        size, touched = _measure(path)
        if touched < before:
            yield Deletable(path.name, size, partial(_remove, path))


def _measure(path: Path) -> tuple[int, float]:
    """(bytes, when anything in it was last written). What vanishes meanwhile counts nothing."""
    size, touched = 0, 0.0
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        try:
            stat = each.lstat()
        except FileNotFoundError:
            continue
        size += stat.st_size if each.is_file() else 0
        touched = max(touched, stat.st_mtime)
    return size, touched


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


KINDS = (
    Kind("checkpoints", "Checkpoints of ended jobs", "Kept for retries, for as many days as are set.", old_checkpoints),
    Kind("logs", "Logs of jobs that ended long ago", "Log lines and memory samples; loss curves and events stay.", old_logs),
    Kind("incoming", "Unfinished transfers of workers", "Their attempt is over, and nothing came for a day.", incoming),
    Kind("uploads", "Unfinished dataset uploads", "Nothing came for a day.", uploads),
    Kind("broken_off", "Uploads that were broken off or not used", "Nothing came for as long as they are kept.", broken_off),
    Kind("tokenizers", "Tokenizers that no model names", "Their model was removed or changed; unused for a day.", tokenizers),
    Kind("rests", "Checkpoint folders that no job knows", "Left by a crash more than a day ago.", lost_checkpoint_folders),
    Kind("adapter_rests", "Adapter folders that no adapter names", "Left by a crash more than a day ago.", adapter_rests),
)
