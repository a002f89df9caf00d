"""The progress strip: what the job went through, and for how long."""

from datetime import UTC, datetime, timedelta

from webapp.jobs.models import Job, JobStatus
from webapp.jobs.stages import Stage, stages_of

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def at(seconds: int) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat()


def job(*phases: tuple[str, int, int | None], status: JobStatus = JobStatus.RUNNING) -> Job:
    told = [{"phase": name, "at": at(begin), "ended_at": None if end is None else at(end)} for name, begin, end in phases]
    return Job(status=status, queued_at=BEGAN - timedelta(seconds=9), started_at=BEGAN, progress={"phases": told})


def test_it_starts_with_the_wait():
    assert stages_of(job()) == [Stage("Queued", 9.0)]


def test_a_queued_job_is_still_waiting():
    assert stages_of(job(status=JobStatus.QUEUED)) == [Stage("Queued", None, since=at(-9))]


def test_the_phase_that_lasts_ticks():
    stages = stages_of(job(("fetching data", 0, 4), ("training", 4, None)))
    assert stages[1:] == [Stage("Fetching data", 4.0), Stage("Training", None, since=at(4))]


def test_a_phase_that_comes_again_is_one_stage():
    stages = stages_of(
        job(("training", 0, 10), ("evaluating", 10, 12), ("training", 12, 20), ("evaluating", 20, 23), ("training", 23, None))
    )
    assert stages[1:] == [Stage("Training", 18.0, since=at(5)), Stage("Evaluating", 5.0)]


def test_nothing_ticks_once_the_job_has_ended():
    assert stages_of(job(("training", 0, None), status=JobStatus.FAILED))[1] == Stage("Training", None)
