"""Checkpoints that the dashboard keeps: whole or absent, the newest chosen, thinned by rule."""

from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.test_finish import Publisher, succeeded
from tests.webapp.jobs.work import CHECKPOINT_BYTES, checkpoint_files, claimed, claimed_again, ended, failed, kept, spec, submitted
from webapp.artifacts import BadArtifact
from webapp.jobs.checkpoints import checkpoints_of, folder_of, incoming_checkpoint, keep, newest_checkpoint, resume_from
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import StaleAttempt
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Checkpoint, Job
from webapp.jobs.services import JobRefused, submit_job
from worker.contract.orders import CheckpointUploaded


def steps(job: Job) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints_of(job)]


def test_it_works(cast: Cast):
    job, attempt = claimed(cast)
    checkpoint = kept(attempt, step=5)
    assert {path.name: path.read_bytes() for path in folder_of(checkpoint).iterdir()} == CHECKPOINT_BYTES
    order = resume_from(job)
    assert order is not None
    assert (order.step, order.files) == (5, checkpoint_files())
    assert job.events.filter(kind="checkpoint_kept", data__step=5).count() == 1


def test_the_same_again_changes_nothing(cast: Cast):
    job, attempt = claimed(cast)
    first = kept(attempt, step=5)
    uploaded = CheckpointUploaded(fence=attempt.fence, step=5, files=checkpoint_files())
    assert keep(attempt, uploaded) == first
    assert job.events.filter(kind="checkpoint_kept").count() == 1


@pytest.mark.parametrize("harm", ["missing", "short", "other bytes"])
def test_a_file_that_is_not_as_announced_keeps_nothing(cast: Cast, harm: str):
    _, attempt = claimed(cast)
    folder = incoming_checkpoint(attempt, step=5)
    folder.mkdir()
    for name, content in CHECKPOINT_BYTES.items():
        (folder / name).write_bytes(content)
    spoilt = folder / "optimizer.pt"
    spoilt.unlink() if harm == "missing" else spoilt.write_bytes(b"moment" if harm == "short" else b"MOMENTS")
    with pytest.raises(BadArtifact, match=r"optimizer\.pt"):
        keep(attempt, CheckpointUploaded(fence=attempt.fence, step=5, files=checkpoint_files()))
    assert not Checkpoint.objects.exists()


def test_a_closed_attempt_keeps_nothing(cast: Cast):
    _, attempt = claimed(cast)
    lose_attempt(attempt, why="Gone.")
    with pytest.raises(StaleAttempt):
        kept(attempt, step=5)
    assert not Checkpoint.objects.exists()


def test_two_are_kept_while_the_job_lives(cast: Cast, django_capture_on_commit_callbacks: Any):
    job, attempt = claimed(cast)
    with django_capture_on_commit_callbacks(execute=True):
        made = [kept(attempt, step=step) for step in (5, 10, 15)]
    assert steps(job) == [15, 10]
    assert [folder_of(checkpoint).exists() for checkpoint in made] == [False, True, True]


def test_one_is_kept_after_a_failure_and_none_after_success(cast: Cast):
    job, attempt = claimed(cast)
    for step in (5, 10):
        kept(attempt, step=step)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    assert steps(job) == [10]
    job, attempt = claimed(cast)
    kept(attempt, step=5)
    finish_attempt(attempt, succeeded(attempt), publish=Publisher())
    assert steps(job) == []


def test_the_later_attempts_are_newer(cast: Cast):
    """It could not use step 10, began at 5 and came to 7."""
    job, first = claimed(cast)
    kept(first, step=10)
    finish_attempt(first, ended(first, "trainer_killed"), publish=Publisher())
    kept(claimed_again(cast, job), step=7)
    assert steps(job) == [7, 10]


def test_one_whose_files_are_gone_is_told_of_and_skipped(cast: Cast):
    job, attempt = claimed(cast)
    older, newer = kept(attempt, step=5), kept(attempt, step=10)
    (folder_of(newer) / "optimizer.pt").unlink()
    assert newest_checkpoint(job) == older
    assert steps(job) == [10, 5], "a reader changes nothing"
    order = resume_from(job)
    assert order is not None
    assert order.step == 5
    assert steps(job) == [5]
    assert job.events.filter(kind="checkpoint_rejected", data__step=10).count() == 1
    (folder_of(older) / "manifest.json").write_bytes(b"{")
    assert resume_from(job) is None


def test_a_clone_goes_on_only_with_the_same_settings(cast: Cast):
    job, attempt = claimed(cast)
    checkpoint = kept(attempt, step=2)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    same = {"pool": cast.pool, "base_model": cast.base_model, "dataset_version": cast.version, "starts_from": checkpoint}
    clone = submit_job(user=cast.bob, name="same", spec=spec(), cloned_from=job, **same)
    order = resume_from(clone)
    assert order is not None
    assert order.step == 2
    with pytest.raises(JobRefused, match="only with the same model, dataset and settings"):
        submit_job(user=cast.bob, name="other", spec=spec(max_steps=9), **same)
    with pytest.raises(JobRefused, match="no such"):
        submit_job(user=cast.charlie, name="stranger", spec=spec(), **same)
    assert not Job.objects.filter(name__in=["other", "stranger"]).exists()


def test_a_job_without_any_starts_from_the_beginning(cast: Cast):
    job = submitted(cast)
    assert newest_checkpoint(job) is None
    assert resume_from(job) is None
    assert not Attempt.objects.exists()
