"""The progress strip: what the job went through, and for how long."""

from datetime import UTC, datetime, timedelta

from tests.cast import Cast
from tests.webapp.jobs.work import claimed
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.stages import Stage, Waits, stages_of, waits_of

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def at(seconds: int) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat()


def job(*phases: tuple[str, int, int | None], status: JobStatus = JobStatus.RUNNING) -> Job:
    told = [{"phase": name, "at": at(begin), "ended_at": None if end is None else at(end)} for name, begin, end in phases]
    return Job(status=status, progress={"phases": told})


WAITED = Waits(9.0, since=None)


def test_it_starts_with_the_wait():
    assert stages_of(job(), WAITED) == [Stage("Queued", 9.0)]


def test_a_queued_job_is_still_waiting():
    assert stages_of(job(status=JobStatus.QUEUED), Waits(0, since=BEGAN)) == [Stage("Queued", None, since=at(0))]


def test_a_job_that_waits_again_goes_on_counting():
    assert stages_of(job(status=JobStatus.QUEUED), Waits(5, since=BEGAN)) == [Stage("Queued", 5.0, since=at(-5))]


def test_the_phase_that_lasts_ticks():
    stages = stages_of(job(("fetching data", 0, 4), ("training", 4, None)), WAITED)
    assert stages[1:] == [Stage("Fetching data", 4.0), Stage("Training", None, since=at(4))]


def test_a_phase_that_comes_again_is_one_stage():
    stages = stages_of(
        job(("training", 0, 10), ("evaluating", 10, 12), ("training", 12, 20), ("evaluating", 20, 23), ("training", 23, None)),
        WAITED,
    )
    assert stages[1:] == [Stage("Training", 18.0, since=at(5)), Stage("Evaluating", 5.0)]


def test_nothing_ticks_once_the_job_has_ended():
    assert stages_of(job(("training", 0, None), status=JobStatus.FAILED), WAITED)[1] == Stage("Training", None)


def test_every_wait_of_a_job_counts(cast: Cast):
    job, attempt = claimed(cast)
    lose_attempt(attempt, why="Worker box is gone.")
    moments = (0, 9, 60)  # queued, starting, queued again
    for event, second in zip(job.events.filter(kind="state").order_by("cursor"), moments, strict=True):
        job.events.filter(pk=event.pk).update(at=at(second))
    assert waits_of(job) == Waits(9.0, since=BEGAN + timedelta(seconds=60))
