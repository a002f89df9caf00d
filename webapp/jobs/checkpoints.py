"""Whole checkpoints that the dashboard keeps, so that a job goes on elsewhere: received, kept, chosen, thinned.

Kept are the newest two while the job lives, the newest one after it failed or was cancelled (until housekeeping takes it),
none after it succeeded or was discarded; and whatever a living retry starts from.
"""

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from webapp.artifacts import check_hashes, check_sizes, place
from webapp.jobs.events import tell
from webapp.jobs.leases import renew_lease
from webapp.jobs.models import ENDED_JOB, Attempt, Checkpoint, Job, JobStatus
from worker.contract.orders import ArtifactFile, CheckpointUploaded, ResumeFrom

KEPT_ALIVE, KEPT_ENDED = 2, 1


def folder_of(checkpoint: Checkpoint) -> Path:
    return Path(settings.CHECKPOINTS_DIR) / str(checkpoint.pk)


def incoming_checkpoint(attempt: Attempt, *, step: int) -> Path:
    """Where its files wait until all of them are there."""
    return Path(settings.INCOMING_DIR) / f"{attempt.pk}-{attempt.fence}-checkpoint-{step}"


def files_of(checkpoint: Checkpoint) -> tuple[ArtifactFile, ...]:
    return tuple(ArtifactFile.model_validate(file) for file in checkpoint.files)


def is_whole(checkpoint: Checkpoint) -> bool:
    """Every file is there with its size. Bytes are checked by their hashes when a worker fetches them."""
    folder = folder_of(checkpoint)
    paths = ((folder / file.name, file.size_bytes) for file in files_of(checkpoint))
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def checkpoints_of(job: Job) -> QuerySet[Checkpoint]:
    """Newest first: the latest attempt's highest step. An earlier attempt's higher step is what the latest could not use."""
    return Checkpoint.objects.filter(job=job.pk).order_by("-attempt__number", "-step")


def newest_checkpoint(job: Job) -> Checkpoint | None:
    """The job's own newest whole one; reads only."""
    return next((checkpoint for checkpoint in checkpoints_of(job) if is_whole(checkpoint)), None)


def resume_from(job: Job) -> ResumeFrom | None:
    """From where the next attempt goes on: the job's newest checkpoint, else the one that it was retried from.

    One whose files are gone is told of, forgotten and skipped.
    """
    chosen = _chosen(job)
    return ResumeFrom(step=chosen.step, files=files_of(chosen)) if chosen else None


def _chosen(job: Job) -> Checkpoint | None:
    for checkpoint in _candidates(job):
        if is_whole(checkpoint):
            return checkpoint
        _forget(job, checkpoint)
    return None


def _candidates(job: Job) -> Iterable[Checkpoint]:
    yield from checkpoints_of(job)
    if job.starts_from is not None:
        yield job.starts_from


def _forget(job: Job, checkpoint: Checkpoint) -> None:
    reason = "Its files are not whole in the data folder any more."
    with transaction.atomic():
        tell(job.pk, "checkpoint_rejected", {"step": checkpoint.step, "file": "", "reason": reason})
        delete_checkpoints([checkpoint])


def keep(attempt: Attempt, uploaded: CheckpointUploaded) -> Checkpoint:
    """From now on the job may resume from it. Raises StaleAttempt, and BadArtifact when a file is missing or wrong.

    The same again (a lost reply) changes nothing. Bytes are read before the transaction, which only links and renames.
    """
    renew_lease(attempt, fence=uploaded.fence)
    known = Checkpoint.objects.filter(attempt=attempt.pk, step=uploaded.step).first()
    source = incoming_checkpoint(attempt, step=uploaded.step)
    if known is None:
        check_hashes(source, files=uploaded.files)
    with transaction.atomic():
        renew_lease(attempt, fence=uploaded.fence)
        return known or _keep(attempt, uploaded, source)


def _keep(attempt: Attempt, uploaded: CheckpointUploaded, source: Path) -> Checkpoint:
    checkpoint, is_new = Checkpoint.objects.get_or_create(
        attempt=attempt,
        step=uploaded.step,
        defaults={
            "job_id": attempt.job_id,
            "size_bytes": sum(file.size_bytes for file in uploaded.files),
            "files": [file.model_dump(mode="json") for file in uploaded.files],
        },
    )
    if is_new:
        check_sizes(source, files=uploaded.files)
        place(source, target=folder_of(checkpoint), files=uploaded.files)
        tell(attempt.job_id, "checkpoint_kept", {"step": checkpoint.step, "size_bytes": checkpoint.size_bytes}, attempt=attempt)
        transaction.on_commit(partial(shutil.rmtree, source, ignore_errors=True))
        thin(Job.objects.get(pk=attempt.job_id))
    return checkpoint


def file_for(attempt: Attempt, name: str) -> Path | None:
    """A file of the checkpoint that the attempt's order named; None for any other name."""
    chosen = _given_to(attempt)
    known = {file.name for file in files_of(chosen)} if chosen else set()
    path = folder_of(chosen) / name if chosen and name in known else None
    return path if path and path.is_file() else None


def _given_to(attempt: Attempt) -> Checkpoint | None:
    """Those that it made itself came after its order; its first_step says which of the older ones it was."""
    older = [c for c in checkpoints_of(attempt.job).select_related("attempt") if c.attempt.number < attempt.number]
    candidates = [*older, *([attempt.job.starts_from] if attempt.job.starts_from else [])]
    named = [c for c in candidates if c.step == attempt.first_step]
    return next(iter(named or candidates), None)


def thin(job: Job) -> None:
    """Deletes what the rule at the top no longer keeps. `job` must be as stored."""
    delete_checkpoints(surplus(job))


def surplus(job: Job) -> list[Checkpoint]:
    kept = KEPT_ALIVE if not job.is_ended else KEPT_ENDED
    if job.status == JobStatus.SUCCEEDED or (job.is_ended and job.stop_requested == Job.Stop.DISCARD):
        kept = 0
    return [checkpoint for checkpoint in checkpoints_of(job)[kept:] if not is_needed(checkpoint)]


def is_needed(checkpoint: Checkpoint) -> bool:
    """A retry that has not ended starts from it."""
    return Job.objects.filter(starts_from=checkpoint.pk).exclude(status__in=ENDED_JOB).exists()


def delete_checkpoints(checkpoints: Iterable[Checkpoint]) -> None:
    """The rows go first: files without a row are rubbish, a row without files would be a promise broken."""
    for checkpoint in checkpoints:
        folder = folder_of(checkpoint)
        with transaction.atomic():
            Checkpoint.objects.filter(pk=checkpoint.pk).delete()
            transaction.on_commit(partial(shutil.rmtree, folder, ignore_errors=True))
