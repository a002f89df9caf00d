"""When a queued job is expected to start: a range from past durations, or why there is none."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cast import Cast
from tests.webapp.jobs.queueing import asks, attempt_of, machine, queued
from webapp.accounts.models import User
from webapp.catalog.models import BaseModel
from webapp.jobs.durations import durations_for
from webapp.jobs.models import Attempt, Job, JobStatus
from webapp.jobs.waiting import expected_start, why_no_start


@pytest.fixture
def alone(cast: Cast) -> Cast:
    cast.worker.delete()
    return cast


def succeeded(cast: Cast, *, minutes: float, model: BaseModel | None = None) -> Job:
    job = queued(cast, cast.charlie)
    end = datetime.now(UTC) - timedelta(hours=1)
    times = {"started_at": end - timedelta(minutes=minutes), "ended_at": end}
    Job.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED, base_model=model or cast.base_model, **times)
    return job


def past(cast: Cast, *minutes: float) -> None:
    for each in minutes:
        succeeded(cast, minutes=each)


def seconds_to(job: Job) -> tuple[float, float]:
    found = expected_start(job)
    assert found is not None, why_no_start(job)
    now = datetime.now(UTC)
    return (found.earliest - now).total_seconds(), (found.latest - now).total_seconds()


def test_a_free_slot_means_now(alone: Cast) -> None:
    machine(alone, name="m")
    past(alone, 10, 20, 30)
    assert seconds_to(queued(alone, alone.alice)) == pytest.approx((0, 0), abs=5)


def test_what_runs_and_what_is_ahead_count(alone: Cast) -> None:
    """One slot: half of the jobs took 20 minutes or less, nine of ten 60 or less; one has run for 5 minutes, one is ahead."""
    worker = machine(alone, name="m")
    past(alone, *[20.0] * 8, 60, 60, 60)
    queued(alone, alone.bob)
    order = asks(worker)
    assert order is not None
    Attempt.objects.update(claimed_at=datetime.now(UTC) - timedelta(minutes=5))
    queued(alone, alone.alice, ago=50)
    assert seconds_to(queued(alone, alone.alice, ago=5)) == pytest.approx(((15 + 20) * 60, (55 + 60) * 60), abs=10)
    Job.objects.filter(pk=order.job_id).update(progress={"seconds_left": 120})
    assert seconds_to(Job.objects.filter(status=JobStatus.QUEUED).latest("queued_at")) == pytest.approx(
        ((2 + 20) * 60, (2 + 60) * 60), abs=10
    )


def test_two_slots_halve_the_wait(alone: Cast) -> None:
    machine(alone, name="m", slots=2)
    past(alone, 10, 10, 10)
    for n in range(4):
        queued(alone, alone.alice, ago=50 - n)
    assert seconds_to(queued(alone, alone.alice, ago=1)) == pytest.approx((1200, 1200), abs=5)


def test_a_wide_job_waits_for_all_its_slots(alone: Cast) -> None:
    worker = machine(alone, name="m", slots=2)
    past(alone, 10, 10, 10)
    queued(alone, alone.bob)
    assert asks(worker)
    assert seconds_to(queued(alone, alone.alice, slots=2))[0] == pytest.approx(600, abs=5)
    assert seconds_to(queued(alone, alone.alice, ago=1))[0] == pytest.approx(1200, abs=5)


def test_pauses_and_limits_hold_it_up(alone: Cast) -> None:
    worker = machine(alone, name="m", slots=4)
    past(alone, 10, 10, 10)
    job = queued(alone, alone.alice, not_before=datetime.now(UTC) + timedelta(seconds=300))
    assert seconds_to(job)[0] == pytest.approx(300, abs=5)
    queued(alone, alone.bob, priority=30)
    assert asks(worker)
    User.objects.filter(pk=alone.bob.pk).update(running_limit=1)
    assert seconds_to(queued(alone, alone.bob))[0] == pytest.approx(600, abs=5)
    User.objects.filter(pk=alone.bob.pk).update(running_limit=0)
    assert "limit" in why_no_start(queued(alone, alone.bob))


def test_too_few_ended_jobs_say_nothing(alone: Cast) -> None:
    machine(alone, name="m")
    past(alone, 10, 20)
    job = queued(alone, alone.alice)
    assert expected_start(job) is None
    assert why_no_start(job) == "An expected start is shown once 3 jobs of pool local have succeeded."


def test_nobody_could_run_it(alone: Cast) -> None:
    past(alone, 10, 10, 10)
    job = queued(alone, alone.alice, memory_bytes=2**36)
    assert expected_start(job) is None
    machine(alone, name="m", gpus=1, gib=24)
    assert "could run the job" in why_no_start(job)
    assert expected_start(Job(status=JobStatus.RUNNING)) is None


def test_jobs_on_the_same_model_say_more(alone: Cast) -> None:
    other = BaseModel.objects.create(name="Large", source="folder", name_or_path="/models/large", state="ready")
    past(alone, 1, 1, 1)
    for _ in range(3):
        succeeded(alone, minutes=100, model=other)
    job = queued(alone, alone.alice)
    Job.objects.filter(pk=job.pk).update(base_model=other)
    job.refresh_from_db()
    found = durations_for(job)
    assert found is not None
    assert (found.median, found.jobs, found.of_same_model) == (6000, 3, True)
    Job.objects.filter(base_model=other, status=JobStatus.SUCCEEDED).first().delete()  # type: ignore[union-attr]
    found = durations_for(job)
    assert found is not None
    assert (found.median, found.jobs, found.of_same_model) == (60, 5, False)


def test_it_says_what_it_was_reckoned_from(alone: Cast) -> None:
    worker = machine(alone, name="m")
    past(alone, 10, 20, 90)
    queued(alone, alone.bob)
    order = asks(worker)
    assert order is not None
    assert attempt_of(order).slot == 0
    found = expected_start(queued(alone, alone.alice))
    assert found is not None
    assert found.why == (
        "0 ahead; the last 3 jobs with SmolLM2 135M Instruct in pool local took 20 min 00 s (half of them) to "
        "1 h 30 min (nine of ten)."
    )
