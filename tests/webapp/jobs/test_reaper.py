"""Leases that ran out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.work import batch, claimed, expire, log, submitted
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from webapp.jobs.reaper import pools_with_work, reap_once
from webapp.pools.models import Worker


def test_a_lease_that_ran_out_is_a_lost_attempt(cast: Cast):
    job, attempt = claimed(cast)
    expire(attempt)
    assert reap_once() == 1
    assert Attempt.objects.get(pk=attempt.pk).status == AttemptStatus.LOST
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_a_lease_that_runs_is_left_alone(cast: Cast):
    _, attempt = claimed(cast)
    assert reap_once() == 0
    assert Attempt.objects.get(pk=attempt.pk).status == AttemptStatus.CLAIMED


def test_a_batch_that_arrives_in_time_keeps_the_attempt(cast: Cast):
    _, attempt = claimed(cast)
    expire(attempt)
    store_batch(attempt, batch(attempt, log("late, but not too late")))
    assert reap_once() == 0


def test_an_ended_job_is_left_alone(cast: Cast):
    job, attempt = claimed(cast)
    Job.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED)
    expire(attempt)
    reap_once()
    assert Job.objects.get(pk=job.pk).status == JobStatus.SUCCEEDED


def test_only_pools_with_work_and_workers_are_rung(cast: Cast):
    assert pools_with_work() == []
    submitted(cast)
    submitted(cast)
    assert pools_with_work() == [cast.pool]
    Worker.objects.update(state=Worker.State.DRAINING)
    assert pools_with_work() == []


def test_a_retried_job_is_rung_when_its_pause_is_over(cast: Cast):
    job = submitted(cast)
    Job.objects.filter(pk=job.pk).update(not_before=timezone.now() + timedelta(seconds=60))
    assert pools_with_work() == []
    Job.objects.filter(pk=job.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert pools_with_work() == [cast.pool]


@pytest.mark.django_db(transaction=True)
def test_two_reapers_at_once_lose_an_attempt_once():
    cast = meet_the_cast()
    job, attempt = claimed(cast)
    expire(attempt)

    def reap(_: int) -> int:
        try:
            return reap_once()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as reapers:
        assert sum(reapers.map(reap, range(8))) == 1
    job.refresh_from_db()
    assert (job.status, job.retries) == (JobStatus.QUEUED, 1)
    assert job.events.filter(kind="attempt", data__to="lost").count() == 1
