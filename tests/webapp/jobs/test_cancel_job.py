"""Cancel: at once while waiting, by asking while held, and never after the end."""

from collections import Counter

import pytest

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.racing import RACES, at_once
from tests.webapp.jobs.test_finish import Publisher, succeeded
from tests.webapp.jobs.work import claimed, failed, stopped, submitted
from webapp.jobs.finish import finish_attempt
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.services import JobRefused, cancel_job


def refuse_to_publish(**_: object) -> None:
    raise AssertionError("nothing was to be published")


def test_a_queued_job_is_cancelled_at_once(cast: Cast):
    job = submitted(cast)
    cancel_job(job, by=cast.alice, save=True)
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


def test_a_held_job_is_asked_to_stop(cast: Cast):
    job, attempt = claimed(cast)
    cancel_job(job, by=cast.alice, save=False)
    job.refresh_from_db()
    assert (job.status, job.stop_requested) == (JobStatus.STOPPING, Job.Stop.DISCARD)
    finish_attempt(attempt, stopped(attempt), publish=refuse_to_publish)
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


def test_save_may_become_discard_but_not_back(cast: Cast):
    job, _ = claimed(cast)
    cancel_job(job, by=cast.alice, save=True)
    cancel_job(job, by=cast.alice, save=False)
    job.refresh_from_db()
    assert job.stop_requested == Job.Stop.DISCARD
    with pytest.raises(JobRefused, match="stopping already"):
        cancel_job(job, by=cast.alice, save=True)


def test_an_ended_job_is_refused(cast: Cast):
    job, attempt = claimed(cast)
    finish_attempt(attempt, failed(attempt), publish=refuse_to_publish)
    with pytest.raises(JobRefused, match="already ended: failed"):
        cancel_job(job, by=cast.alice, save=True)


def test_a_team_mate_may_look_but_not_cancel(cast: Cast):
    job = submitted(cast)
    with pytest.raises(JobRefused, match="Only the owner"):
        cancel_job(job, by=cast.bob, save=True)
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_an_administrator_may(cast: Cast):
    job = submitted(cast)
    cancel_job(job, by=cast.ada, save=True)
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


def test_a_cancel_that_was_accepted_stays_one(cast: Cast):
    job, attempt = claimed(cast)
    cancel_job(job, by=cast.alice, save=False)
    finish_attempt(attempt, failed(attempt), publish=refuse_to_publish)
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_cancel_racing_with_the_end_has_two_outcomes():
    cast = meet_the_cast()
    outcomes: Counter[tuple[bool, str]] = Counter()
    for number in range(RACES):
        job, attempt = claimed(cast)
        finish = failed(attempt) if number % 2 else succeeded(attempt)
        cancelled, ended_with = at_once(
            lambda job=job: cancel_job(job, by=cast.alice, save=False),  # type: ignore[misc]
            lambda attempt=attempt, finish=finish: finish_attempt(attempt, finish, publish=Publisher()),  # type: ignore[misc]
        )
        assert not isinstance(ended_with, Exception), ended_with
        assert cancelled is None or (isinstance(cancelled, JobRefused) and "already ended" in str(cancelled))
        status = Job.objects.get(pk=job.pk).status
        outcomes[cancelled is None, "cancelled" if status == JobStatus.CANCELLED else "ended"] += 1
    assert set(outcomes) <= {(True, "cancelled"), (False, "ended")}
