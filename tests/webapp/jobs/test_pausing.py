"""Pause, resume, retry, priority: who may, when, and what becomes of the job."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.racing import RACES, at_once
from tests.webapp.jobs.test_finish import Publisher, succeeded
from tests.webapp.jobs.work import (
    able_to_pause,
    batch,
    checkpointed,
    claimed,
    claimed_again,
    ended,
    expire,
    failed,
    kept,
    log,
    stopped,
    submitted,
)
from webapp.jobs.checkpoints import folder_of, newest_checkpoint, resume_from
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Checkpoint, Job, JobStatus, Priority
from webapp.jobs.reaper import reap_once
from webapp.jobs.services import JobRefused, cancel_job, change_priority, pause_job, resume_job, retry_job


@pytest.fixture
def held(cast: Cast) -> tuple[Job, Attempt]:
    able_to_pause(cast)
    return claimed(cast)


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def last_word(job: Job) -> str:
    return str(job.events.filter(kind="state").latest("cursor").data["why"])


def paused(held: tuple[Job, Attempt], cast: Cast, *, step: int = 2) -> Job:
    job, attempt = held
    pause_job(job, by=cast.alice)
    kept(attempt, step=step)
    finish_attempt(attempt, checkpointed(attempt, step=step), publish=Publisher())
    return fresh(job)


def test_the_worker_is_asked_through_the_reply(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    pause_job(job, by=cast.alice)
    assert fresh(job).status == JobStatus.PAUSING
    assert store_batch(attempt, batch(attempt, log("a"))).order == "pause"


def test_a_checkpointed_end_pauses_it(cast: Cast, held: tuple[Job, Attempt]):
    job = paused(held, cast)
    assert (job.status, job.retries) == (JobStatus.PAUSED, 0)
    assert last_word(job) == "Paused as asked. It goes on from step 2."


def test_resumed_it_joins_the_end_of_the_queue_and_goes_on(cast: Cast, held: tuple[Job, Attempt]):
    job = paused(held, cast)
    before = job.queued_at
    resume_job(job, by=cast.alice)
    job = fresh(job)
    assert job.status == JobStatus.QUEUED
    assert before is not None
    assert job.queued_at is not None
    assert job.queued_at > before
    order = resume_from(job)
    assert order is not None
    assert order.step == 2


@pytest.mark.parametrize("act", [pause_job, resume_job, lambda job, by: retry_job(job, by=by, from_checkpoint=False)])
def test_a_team_mate_may_not(cast: Cast, held: tuple[Job, Attempt], act: Callable[..., object]):
    with pytest.raises(JobRefused, match="Only the owner of a job and administrators") as refusal:
        act(held[0], by=cast.bob)
    assert refusal.value.code == "forbidden"
    assert fresh(held[0]).status == JobStatus.STARTING


def test_an_administrator_may(cast: Cast, held: tuple[Job, Attempt]):
    pause_job(held[0], by=cast.ada)
    assert fresh(held[0]).status == JobStatus.PAUSING


def test_an_old_worker_is_named(cast: Cast):
    job, _ = claimed(cast)
    with pytest.raises(JobRefused, match="Worker box is of an older version and cannot pause"):
        pause_job(job, by=cast.alice)
    assert fresh(job).status == JobStatus.STARTING


def test_what_has_not_started_cannot_be_paused(cast: Cast):
    job = submitted(cast)
    with pytest.raises(JobRefused, match="has not started"):
        pause_job(job, by=cast.alice)


def test_twice_is_said(cast: Cast, held: tuple[Job, Attempt]):
    job = held[0]
    pause_job(job, by=cast.alice)
    with pytest.raises(JobRefused, match="The job is pausing"):
        pause_job(job, by=cast.alice)
    with pytest.raises(JobRefused, match="still pausing"):
        resume_job(job, by=cast.alice)


def test_an_ended_job_is_told_of(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    for act in (pause_job, resume_job):
        with pytest.raises(JobRefused, match="already ended: failed"):
            act(job, by=cast.alice)


def test_an_end_wins_over_a_pause(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    pause_job(job, by=cast.alice)
    finish_attempt(attempt, succeeded(attempt), publish=Publisher())
    assert fresh(job).status == JobStatus.SUCCEEDED


def test_a_fault_while_pausing_pauses_at_the_last_checkpoint(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    kept(attempt, step=1)
    pause_job(job, by=cast.alice)
    finish_attempt(attempt, ended(attempt, "trainer_killed"), publish=Publisher())
    job = fresh(job)
    assert (job.status, job.not_before) == (JobStatus.PAUSED, None)
    assert last_word(job) == "It ended badly. It goes on from step 1."


def test_a_worker_that_is_lost_while_pausing_leaves_a_paused_job(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    pause_job(job, by=cast.alice)
    expire(attempt)
    assert reap_once() == 1
    assert fresh(job).status == JobStatus.PAUSED
    assert "starts again from the beginning" in last_word(job)


def test_cancelling_while_it_pauses(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    pause_job(job, by=cast.alice)
    cancel_job(job, by=cast.alice, save=False)
    assert store_batch(attempt, batch(attempt, log("a"))).order == "stop_and_discard"
    finish_attempt(attempt, stopped(attempt), publish=Publisher())
    assert fresh(job).status == JobStatus.CANCELLED


def test_save_that_came_after_the_pause_says_what_is_kept(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    pause_job(job, by=cast.alice)
    cancel_job(job, by=cast.alice, save=True)
    checkpoint = kept(attempt, step=2)
    finish_attempt(attempt, checkpointed(attempt, step=2), publish=Publisher())
    assert fresh(job).status == JobStatus.CANCELLED
    assert "no adapter, but the checkpoint of step 2 is kept" in last_word(job)
    assert newest_checkpoint(job) == checkpoint


def test_discard_keeps_no_checkpoint(
    cast: Cast, held: tuple[Job, Attempt], django_capture_on_commit_callbacks: Callable[..., object]
):
    job, attempt = held
    pause_job(job, by=cast.alice)
    cancel_job(job, by=cast.alice, save=False)
    folder = folder_of(kept(attempt, step=2))
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        finish_attempt(attempt, checkpointed(attempt, step=2), publish=Publisher())
    assert fresh(job).status == JobStatus.CANCELLED
    assert not Checkpoint.objects.filter(job=job).exists()
    assert not folder.exists()


@pytest.mark.parametrize(("save", "left"), [(True, 1), (False, 0)])
def test_cancelling_a_paused_job(cast: Cast, held: tuple[Job, Attempt], save: bool, left: int):
    job = paused(held, cast)
    cancel_job(job, by=cast.alice, save=save)
    assert fresh(job).status == JobStatus.CANCELLED
    assert Checkpoint.objects.filter(job=job).count() == left


def test_a_retry_is_a_new_job_from_the_newest_checkpoint(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    kept(attempt, step=2)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    before = fresh(job).events.count()
    retry = retry_job(fresh(job), by=cast.ada, from_checkpoint=True)
    assert (retry.owner, retry.team, retry.cloned_from, retry.name) == (cast.alice, job.team, job, "first (retry)")
    assert (fresh(job).status, fresh(job).events.count()) == (JobStatus.FAILED, before)
    order = resume_from(retry)
    assert order is not None
    assert order.step == 2
    assert "Ada retried it from step 2 of job" in last_word(retry)


def test_a_retry_of_a_retry_keeps_its_name(cast: Cast):
    job = submitted(cast, name="x" * 100)
    cancel_job(job, by=cast.alice, save=False)
    first = retry_job(fresh(job), by=cast.alice, from_checkpoint=False)
    assert len(first.name) == 100
    cancel_job(first, by=cast.alice, save=False)
    assert retry_job(fresh(first), by=cast.alice, from_checkpoint=False).name == first.name


def test_what_cannot_be_retried_says_why(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    with pytest.raises(JobRefused, match="Only a job that failed or was cancelled"):
        retry_job(job, by=cast.alice, from_checkpoint=False)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    with pytest.raises(JobRefused, match="No checkpoint of this job is kept"):
        retry_job(fresh(job), by=cast.alice, from_checkpoint=True)


def test_the_file_stays_while_a_retry_needs_it(cast: Cast, held: tuple[Job, Attempt]):
    job, attempt = held
    checkpoint = kept(attempt, step=2)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    retry = retry_job(fresh(job), by=cast.alice, from_checkpoint=True)
    again = claimed_again(cast, retry)
    for step in (3, 4, 5):
        kept(again, step=step)
    assert Checkpoint.objects.filter(pk=checkpoint.pk).exists()
    assert list(retry.checkpoints.order_by("step").values_list("step", flat=True)) == [4, 5]


def test_owners_lower_and_administrators_give_any(cast: Cast):
    job = submitted(cast)
    with pytest.raises(JobRefused, match="Only administrators may raise"):
        change_priority(job, by=cast.alice, priority=Priority.HIGH)
    change_priority(job, by=cast.alice, priority=Priority.LOW)
    change_priority(job, by=cast.ada, priority=Priority.URGENT)
    assert fresh(job).priority == Priority.URGENT
    told = [event.data for event in job.events.filter(kind="priority").order_by("cursor")]
    assert told == [{"from": "Normal", "to": "Low", "who": "Alice"}, {"from": "Low", "to": "Urgent", "who": "Ada"}]


@pytest.mark.parametrize("priority", [0, 99, -1])
def test_an_unknown_priority_is_refused(cast: Cast, priority: int):
    with pytest.raises(JobRefused, match="Choose low, normal"):
        change_priority(submitted(cast), by=cast.ada, priority=priority)


def test_the_priority_of_others_and_of_ended_jobs_stays(cast: Cast):
    job = submitted(cast)
    with pytest.raises(JobRefused, match="Only the owner"):
        change_priority(job, by=cast.bob, priority=Priority.LOW)
    with pytest.raises(JobRefused, match="normal already"):
        change_priority(job, by=cast.alice, priority=Priority.NORMAL)
    cancel_job(job, by=cast.alice, save=False)
    with pytest.raises(JobRefused, match="already ended"):
        change_priority(job, by=cast.ada, priority=Priority.LOW)
    assert not job.events.filter(kind="priority").exists()


@pytest.mark.django_db(transaction=True)
def test_pause_racing_with_the_end_has_two_outcomes():
    """The end wins, before or after the pause was taken; whoever was refused is told that the job has ended."""
    cast = meet_the_cast()
    able_to_pause(cast)
    outcomes: Counter[tuple[bool, str]] = Counter()
    for number in range(RACES):
        job, attempt = claimed(cast)
        finish = failed(attempt) if number % 2 else succeeded(attempt)
        asked, ended_with = at_once(
            lambda job=job: pause_job(job, by=cast.alice),  # type: ignore[misc]
            lambda attempt=attempt, finish=finish: finish_attempt(attempt, finish, publish=Publisher()),  # type: ignore[misc]
        )
        assert not isinstance(ended_with, Exception), ended_with
        assert asked is None or (isinstance(asked, JobRefused) and "already ended" in str(asked))
        assert fresh(job).status == (JobStatus.FAILED if number % 2 else JobStatus.SUCCEEDED)
        outcomes[asked is None, "pausing" if "pausing" in _states(job) else "never pausing"] += 1
    assert set(outcomes) <= {(True, "pausing"), (False, "never pausing")}


def _states(job: Job) -> list[str]:
    return [event.data["to"] for event in job.events.filter(kind="state").order_by("cursor")]
