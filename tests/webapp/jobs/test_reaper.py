"""Leases that ran out."""

from tests.cast import Cast
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
