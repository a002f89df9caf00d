"""Puts the checkpoint that a work order names where the trainer finds it: from an older run on this machine, else from the dashboard."""

import hashlib
import logging
import shutil
from pathlib import Path

from worker.agent.checkpoints import MANIFEST, sha256_of
from worker.agent.ends import AttemptFailed, Interrupted
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.run_directories import runs_folder
from worker.agent.waiting import Check, pause
from worker.contract.orders import ArtifactFile, ResumeFrom, WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.linking import link_or_copy

logger = logging.getLogger(__name__)
WRONG_TRIES = 3
LONGEST_PAUSE = 10.0


def put_checkpoint(door: Door, *, order: WorkOrder, run: RunDirectory, data: Path, check: Check) -> bool:
    """Whole or absent: written aside and renamed. Returns whether it was on this machine already."""
    resume = order.resume
    assert resume is not None
    if MANIFEST not in {file.name for file in resume.files}:
        raise _unusable(resume, f"it has no {MANIFEST}")
    part = run.path / "resume.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    here = find_here(resume, data=data)
    for file in resume.files:
        check()
        if here is not None:
            link_or_copy(here / file.name, part / file.name)
        else:
            _download(door, order, file, part / file.name, check)
    run.checkpoints.mkdir(exist_ok=True)
    part.rename(run.checkpoints / f"checkpoint-{resume.step}")
    return here is not None


def find_here(resume: ResumeFrom, *, data: Path) -> Path | None:
    """Any run of this machine will do: the same hashes are the same checkpoint."""
    found = runs_folder(data).glob(f"*/checkpoints/checkpoint-{resume.step}")
    return next((folder for folder in found if all(_is(folder / file.name, file) for file in resume.files)), None)


def _is(path: Path, file: ArtifactFile) -> bool:
    try:
        return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256
    except OSError:
        return False


def _download(door: Door, order: WorkOrder, file: ArtifactFile, target: Path, check: Check) -> None:
    """A dashboard that is away is waited for as long as the attempt is ours."""
    assert order.resume is not None
    delay, wrong = 1.0, 0
    while True:
        check()
        try:
            if _download_once(door, order, file, target, check):
                return
            wrong += 1
        except DoorAway as away:
            wrong += away.status == 500
        except DoorRefused as refusal:
            if refusal.is_not_ours:
                raise Interrupted from None
            raise _unusable(order.resume, str(refusal)) from None
        if wrong >= WRONG_TRIES:
            raise _unusable(order.resume, f"{file.name} did not arrive as it was sent in {wrong} tries")
        pause(delay, check)
        delay = min(LONGEST_PAUSE, delay * 2)


def _download_once(door: Door, order: WorkOrder, file: ArtifactFile, target: Path, check: Check) -> bool:
    digest = hashlib.sha256()
    with (
        door.stream(f"attempts/{order.attempt_id}/resume/{file.name}", query={"fence": order.fence}) as blocks,
        target.open("wb") as out,
    ):
        for block in blocks:
            check()
            digest.update(block)
            out.write(block)
    return digest.hexdigest() == file.sha256


def _unusable(resume: ResumeFrom, why: str) -> AttemptFailed:
    return AttemptFailed(
        "checkpoint_unusable",
        f"The checkpoint of step {resume.step} could not be fetched: {why.rstrip('.')}.",
        "Retry the job from the beginning, or from another checkpoint.",
    )
