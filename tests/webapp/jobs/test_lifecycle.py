"""The tables of transitions and the compare-and-set behind them."""

from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import batch, claimed, submitted
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import ATTEMPT_MOVES, JOB_MOVES, lose_attempt, move_attempt, move_job
from webapp.jobs.models import ENDED_JOB, OPEN_ATTEMPT, AttemptStatus, Job, JobStatus
from worker.contract.events import PhaseStarted


def test_every_status_has_its_row():
    assert set(JOB_MOVES) == set(JobStatus)
    assert set(ATTEMPT_MOVES) == set(AttemptStatus)


def test_ended_means_ended():
    assert all(not JOB_MOVES[status] for status in ENDED_JOB)
    closed = set(AttemptStatus) - set(OPEN_ATTEMPT) - {AttemptStatus.LOST}
    assert all(not ATTEMPT_MOVES[status] for status in closed)
    assert ATTEMPT_MOVES[AttemptStatus.LOST] == {AttemptStatus.FENCED}  # its worker came back and was sent away


def test_every_status_can_be_reached_and_left():
    reachable = {target for targets in JOB_MOVES.values() for target in targets}
    assert reachable == set(JobStatus) - {JobStatus.DRAFT}
    assert all(JOB_MOVES[status] for status in set(JobStatus) - set(ENDED_JOB))


@pytest.mark.parametrize("to", [JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.STOPPING])
def test_a_queued_job_refuses_what_its_row_does_not_list(cast: Cast, to: JobStatus):
    job = submitted(cast)
    before = job.events.count()
    assert not move_job(job, to, why="no")
    job.refresh_from_db()
    assert (job.status, job.events.count()) == (JobStatus.QUEUED, before)


def test_a_move_is_an_event_with_who_and_why(cast: Cast):
    job = submitted(cast)
    assert move_job(job, JobStatus.CANCELLED, why="Changed my mind.", by=cast.alice)
    event = job.events.latest("cursor")
    assert event.data == {"from": "queued", "to": "cancelled", "why": "Changed my mind.", "who": "Alice"}
    assert event.actor == cast.alice
    assert Job.objects.get(pk=job.pk).ended_at is not None


def test_the_second_of_two_movers_is_told(cast: Cast):
    job = submitted(cast)
    mine, theirs = Job.objects.get(pk=job.pk), Job.objects.get(pk=job.pk)
    assert move_job(mine, JobStatus.CANCELLED, why="I was first.")
    assert not move_job(theirs, JobStatus.CANCELLED, why="So was I.")


def test_cursors_count_without_a_gap(cast: Cast):
    job, _ = claimed(cast)
    move_job(job, JobStatus.STOPPING, why="stop", stop_requested=Job.Stop.SAVE)
    cursors = list(job.events.order_by("cursor").values_list("cursor", flat=True))
    assert cursors == list(range(1, len(cursors) + 1))
    assert Job.objects.get(pk=job.pk).last_cursor == len(cursors)


def test_a_lost_attempt_sends_its_job_back_to_the_queue(cast: Cast):
    job, attempt = claimed(cast)
    assert lose_attempt(attempt, why="Gone.")
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


def test_the_last_lost_attempt_fails_its_job(cast: Cast, settings: Any):
    settings.MAX_RETRIES = 0
    job, attempt = claimed(cast)
    assert lose_attempt(attempt, why="Gone.")
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert job.failure["cause"] == "worker_lost"


def test_a_lost_attempt_leaves_no_phase_running(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PhaseStarted(phase="Training")))
    assert lose_attempt(attempt, why="Gone.")
    job.refresh_from_db()
    assert job.progress["phase"] == ""
    assert job.progress["phases"][-1]["ended_at"] is not None


def test_a_job_that_was_asked_to_stop_is_not_queued_again(cast: Cast):
    job, attempt = claimed(cast)
    move_job(job, JobStatus.STOPPING, why="stop", stop_requested=Job.Stop.SAVE)
    assert lose_attempt(attempt, why="Gone.")
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_an_attempt_is_lost_once(cast: Cast):
    _, attempt = claimed(cast)
    assert move_attempt(attempt, AttemptStatus.LOST)
    assert not move_attempt(attempt, AttemptStatus.LOST)
    assert not move_attempt(attempt, AttemptStatus.SUCCEEDED)
