"""The checkpoints of a job that the dashboard keeps, and what each is for."""

from dataclasses import dataclass

from webapp.jobs.checkpoints import checkpoints_of, newest_checkpoint
from webapp.jobs.models import Checkpoint, Job, JobStatus


@dataclass(frozen=True)
class CheckpointTold:
    checkpoint: Checkpoint
    use: str
    """What it is kept for; empty for one that only stands behind a newer one."""


@dataclass(frozen=True)
class Kept:
    rows: list[CheckpointTold]
    begins_at: Checkpoint | None
    """Of the job that this one retries."""
    every: str


def checkpoints_told(job: Job) -> Kept:
    newest = newest_checkpoint(job)
    rows = [
        CheckpointTold(each, _use(job) if newest and each.pk == newest.pk else "")
        for each in checkpoints_of(job).select_related("attempt__worker")
    ]
    return Kept(rows, job.starts_from if not rows else None, _every(job))


def _use(job: Job) -> str:
    if job.status == JobStatus.SUCCEEDED:
        return "The newest; the job is done."
    if job.is_ended:
        return "A retry goes on from here."
    if job.status == JobStatus.PAUSED:
        return "Resume goes on from here."
    return "The next attempt goes on from here."


def _every(job: Job) -> str:
    steps = job.spec.get("training", {}).get("save_steps")
    return f"every {steps:,} {'step' if steps == 1 else 'steps'}" if steps else "about every ten minutes"
