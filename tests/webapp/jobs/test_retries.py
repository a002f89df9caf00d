"""What the machine did is tried again, what the user has to mend is not, and what kills its worker is stopped."""

from datetime import timedelta
from typing import Any, get_args

import pytest
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.jobs.work import (
    PLAN,
    batch,
    checkpointed,
    claimed,
    claimed_again,
    ended,
    expire,
    kept,
    metrics,
)
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from webapp.jobs.reaper import reap_once
from webapp.jobs.retries import CAUSES, RETRIED, backoff_seconds, is_retried
from webapp.pools.models import Worker
from worker.contract.events import FailureCause

ALL_CAUSES = (*get_args(FailureCause), "worker_lost")


def nothing_to_publish(**_: object) -> None:
    raise AssertionError("nothing was to be published")


def end(attempt: Attempt, cause: str, *, step: int | None = None) -> Job:
    attempt.refresh_from_db()
    finish_attempt(attempt, ended(attempt, cause, step=step), publish=nothing_to_publish)
    return Job.objects.get(pk=attempt.job_id)


def test_pauses_double_up_to_six_minutes(settings: Any):
    settings.RETRY_SECONDS = 10
    assert [backoff_seconds(n) for n in (1, 2, 3, 6, 7, 99)] == [10, 20, 40, 320, 360, 360]


def test_every_cause_is_either_retried_or_not_and_has_its_words():
    assert set(ALL_CAUSES) >= RETRIED
    assert set(CAUSES) == RETRIED
    assert not any(is_retried(cause) for cause in ("bad_data", "bad_config", "model_unavailable", "diverged", "out_of_memory"))


@pytest.mark.parametrize("cause", sorted(set(get_args(FailureCause)) & RETRIED))
def test_the_machines_fault_is_tried_again_later_in_the_same_place(cast: Cast, cause: str):
    job, attempt = claimed(cast)
    before = job.queued_at
    job = end(attempt, cause)
    assert (job.status, job.retries, job.queued_at, job.failure) == (JobStatus.QUEUED, 1, before, None)
    assert job.not_before is not None
    assert timedelta(seconds=8) < job.not_before - timezone.now() <= timedelta(seconds=10)
    assert (Attempt.objects.get(pk=attempt.pk).end_cause, job.attempts.count()) == (cause, 1)


@pytest.mark.parametrize("cause", sorted(set(ALL_CAUSES) - RETRIED))
def test_what_the_user_has_to_mend_is_not(cast: Cast, cause: str):
    _, attempt = claimed(cast)
    job = end(attempt, cause, step=7)
    assert (job.status, job.retries, job.not_before) == (JobStatus.FAILED, 0, None)
    assert (job.failure["cause"], job.failure["step"], job.failure["exit_code"]) == (cause, 7, -9)


def test_rows_at_fault_are_kept(cast: Cast):
    _, attempt = claimed(cast)
    finish = ended(attempt, "diverged", step=3)
    finish = finish.model_copy(update={"end": finish.end.model_copy(update={"rows": (4, 9)})})
    finish_attempt(attempt, finish, publish=nothing_to_publish)
    assert Job.objects.get(pk=attempt.job_id).failure["rows"] == [4, 9]


def test_retries_run_out(cast: Cast, settings: Any):
    settings.MAX_RETRIES = 1
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(1)))
    end(attempt, "disk_full")
    second = claimed_again(cast, job)
    store_batch(second, batch(second, PLAN, metrics(2)))
    job = end(second, "trainer_killed")
    assert (job.status, job.failure["cause"]) == (JobStatus.FAILED, "trainer_killed")
    assert job.failure["message"] == "It ended badly. It was tried 2 times."


def test_three_losses_before_the_first_step_are_poison(cast: Cast):
    job, attempt = claimed(cast)
    end(attempt, "trainer_killed")
    second = claimed_again(cast, job)
    expire(second)
    reap_once()
    job = end(claimed_again(cast, job), "trainer_stalled")
    assert (job.status, job.failure["cause"], job.failure["step"]) == (JobStatus.FAILED, "poison", None)
    assert job.failure["evidence"] == [
        "Attempt 1 on worker box: the trainer was killed before its first step.",
        "Attempt 2 on worker box: its worker went away before its first step.",
        "Attempt 3 on worker box: the trainer hung before its first step.",
    ]


def test_losses_at_different_steps_are_not(cast: Cast):
    job, attempt = claimed(cast)
    for step in (1, 2, 3):
        store_batch(attempt, batch(attempt, PLAN, metrics(step)))
        job = end(attempt, "trainer_killed")
        assert job.status == JobStatus.QUEUED
        attempt = claimed_again(cast, job)


def test_three_losses_at_the_step_that_it_was_resumed_from_are_poison(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(2)))
    kept(attempt, step=2)
    end(attempt, "trainer_killed")
    resumed = PLAN.model_copy(update={"resumed_from_step": 2})
    for _ in range(2):
        attempt = claimed_again(cast, job)
        store_batch(attempt, batch(attempt, resumed))
        job = end(attempt, "host_out_of_memory")
    assert (job.status, job.failure["cause"], job.failure["step"]) == (JobStatus.FAILED, "poison", 2)


@pytest.mark.parametrize("why", ["draining", "offline"])
def test_an_orderly_end_is_no_retry(cast: Cast, why: str):
    job, attempt = claimed(cast)
    before = job.queued_at
    kept(attempt, step=2)
    finish_attempt(attempt, checkpointed(attempt, step=2, why=why), publish=nothing_to_publish)
    job.refresh_from_db()
    assert (job.status, job.retries, job.not_before, job.queued_at) == (JobStatus.QUEUED, 0, None, before)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.end_cause) == (AttemptStatus.STOPPED, {"draining": "drained"}.get(why, why))
    assert "goes on from step 2" in job.events.filter(kind="state").latest("cursor").data["why"]


def test_a_gpu_that_failed_takes_nothing_new(cast: Cast):
    _, attempt = claimed(cast)
    end(attempt, "node_trouble")
    worker = Worker.objects.get(pk=cast.worker.pk)
    assert worker.state == Worker.State.DRAINING
    assert "It ended badly." in worker.state_reason


def test_silence_counts_as_the_pause(cast: Cast, settings: Any):
    settings.LEASE_SECONDS, settings.RETRY_SECONDS = 30, 10
    job, attempt = claimed(cast)
    expire(attempt)
    assert reap_once() == 1
    job.refresh_from_db()
    assert (job.status, job.retries, job.not_before) == (JobStatus.QUEUED, 1, None)
    event = job.events.filter(kind="state").latest("cursor")
    assert event.data["who"] == "Nibble"
    assert "30 s" in event.data["why"]


def test_the_moves_of_attempts_are_told(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN))
    end(attempt, "disk_full")
    told = [event.data for event in job.events.filter(kind="attempt").order_by("cursor")]
    assert [(each["number"], each["from"], each["to"]) for each in told] == [(1, "claimed", "running"), (1, "running", "failed")]
    assert told[-1]["why"] == "It ended badly."
