"""Cancel: at once while waiting, by asking while held, and never after the end."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.work import claimed, failed, stopped, submitted
from webapp.jobs.finish import finish_attempt
from webapp.jobs.models import Attempt, Job, JobStatus
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
    for _ in range(10):
        job, attempt = claimed(cast)
        with ThreadPoolExecutor(2) as both:
            cancelled = both.submit(_try_to_cancel, job.pk, cast)
            both.submit(_end, attempt.pk).result()
        status = Job.objects.get(pk=job.pk).status
        assert (cancelled.result(), status) in {(True, JobStatus.CANCELLED), (False, JobStatus.FAILED)}


def _try_to_cancel(pk: int, cast: Cast) -> bool:
    try:
        cancel_job(Job.objects.get(pk=pk), by=cast.alice, save=False)
    except JobRefused:
        return False
    finally:
        connection.close()
    return True


def _end(pk: int) -> None:
    try:
        attempt = Attempt.objects.select_related("worker", "job").get(pk=pk)
        finish_attempt(attempt, failed(attempt), publish=refuse_to_publish)
    finally:
        connection.close()
