"""Why a job waits, in words that name the real cause."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.queueing import GIB, asks, back_in_queue, machine, queued
from webapp.accounts.models import Team, User
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.pool_now import pool_now
from webapp.jobs.waiting import waiting_reason
from webapp.pools.models import Worker
from webapp.pools.services import quarantine

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def alone(cast: Cast) -> Cast:
    """Without the cast's worker."""
    cast.worker.delete()
    return cast


def test_the_next_one_waits_for_seconds(cast: Cast) -> None:
    job = queued(cast, cast.alice)
    assert waiting_reason(job) == "Next in line; a worker of pool local takes it within seconds."
    assert waiting_reason(Job(status=JobStatus.RUNNING)) == ""


def test_no_worker_none_online_none_enabled(alone: Cast) -> None:
    job = queued(alone, alone.alice)
    assert "has no worker yet" in waiting_reason(job)
    worker = machine(alone, name="m", last_seen_at=LONG_AGO)
    assert waiting_reason(job).startswith("No worker of pool local is online.")
    quarantine(worker, reason="GPU 0 fell off the bus.")
    told = waiting_reason(job)
    assert "are draining" in told
    assert told.endswith("GPU 0 fell off the bus.")


def test_all_slots_are_busy(alone: Cast) -> None:
    worker = machine(alone, name="m", slots=2)
    jobs = [queued(alone, alone.alice, ago=10 - n) for n in range(4)]
    assert asks(worker, slot=0)
    assert asks(worker, slot=1)
    assert waiting_reason(jobs[2]) == "Next in line; all 2 slots of pool local are busy."
    assert waiting_reason(jobs[3]) == "1 job ahead; all 2 slots of pool local are busy."


def test_the_limits_of_team_and_member(alone: Cast) -> None:
    worker = machine(alone, name="m", slots=4)
    jobs = [queued(alone, alone.alice, ago=10 - n) for n in range(3)]
    assert asks(worker)
    Team.objects.filter(pk=alone.alice.team_id).update(running_limit=1)
    assert waiting_reason(jobs[1]) == "Next in line; 1 of 1 slots that team Research may hold at once are in use."
    Team.objects.filter(pk=alone.alice.team_id).update(running_limit=2)
    User.objects.filter(pk=alone.alice.pk).update(running_limit=1)
    assert waiting_reason(jobs[2]) == "1 job ahead; 1 of 1 slots that Alice may hold at once are in use."
    wide = queued(alone, alone.bob, slots=3)
    assert "team Research may hold 2 slots at once, and the job takes 3" in waiting_reason(wide)


def test_a_pause_before_a_retry(alone: Cast) -> None:
    worker = machine(alone, name="box-1")
    queued(alone, alone.alice)
    order = asks(worker)
    assert order is not None
    job = back_in_queue(order, cause="worker_lost")
    until = datetime.now(UTC) + timedelta(seconds=40)
    Job.objects.filter(pk=job.pk).update(not_before=until)
    job.refresh_from_db()
    told = waiting_reason(job)
    assert told.startswith("Tries again in ")
    assert told.endswith("s, after attempt 1 on box-1 ended: its worker went away.")  # the page adds the time in the reader's zone


def test_it_is_larger_than_every_gpu(alone: Cast) -> None:
    machine(alone, name="small", gpus=2, gib=24)
    job = queued(alone, alone.alice, memory_bytes=30 * GIB)
    told = waiting_reason(job)
    assert told.startswith("The job needs about 30.0 GiB of GPU memory; the largest GPU of pool local has 24.0 GiB.")
    machine(alone, name="cpu")
    assert waiting_reason(job).startswith("Next in line"), "a machine without a GPU may take anything"


def test_it_is_wider_than_every_machine(alone: Cast) -> None:
    machine(alone, name="m", slots=2)
    told = waiting_reason(queued(alone, alone.alice, slots=4))
    assert told.startswith("The job takes 4 slots of one machine at once; the largest machine of pool local has 2.")


def test_strangers_on_the_gpu(alone: Cast) -> None:
    machine(alone, name="box-1", gpus=1, gib=80, foreign_gib=38)
    job = queued(alone, alone.alice, memory_bytes=50 * GIB)
    taken = "38.0 GiB of 80.0 GiB of GPU 0 on box-1 are taken by another process"
    assert waiting_reason(job) == f"Next in line; {taken}, and the job needs about 50.0 GiB."


def test_others_on_a_shared_gpu(alone: Cast) -> None:
    type(alone.pool).objects.update(jobs_per_gpu=2)
    worker = machine(alone, name="box-1", gpus=1, gib=80)
    queued(alone, alone.bob, memory_bytes=60 * GIB)
    assert asks(worker)
    told = waiting_reason(queued(alone, alone.alice, memory_bytes=30 * GIB))
    assert told == "Next in line; the job needs about 30.0 GiB, and 20.0 GiB are free beside the jobs on GPU 0 of box-1."


def test_a_wide_job_waits_for_neighbours(alone: Cast) -> None:
    worker = machine(alone, name="m", slots=3)
    queued(alone, alone.bob)
    assert asks(worker)
    told = waiting_reason(queued(alone, alone.alice, slots=3))
    assert told == "Next in line; it takes 3 slots of one machine at once, and at most 2 are free on one."


def test_a_disk_that_is_nearly_full(alone: Cast) -> None:
    machine(alone, name="box-1", host={"disk_free_bytes": int(0.4 * GIB)})
    told = waiting_reason(queued(alone, alone.alice))
    assert told == "Next in line; box-1 has 410 MiB of disk left and takes no new job."


def test_a_laptop_too_small_for_the_weights(alone: Cast) -> None:
    machine(alone, name="laptop", host={"memory_total_bytes": 8 * GIB, "memory_used_bytes": 8 * GIB - 1000})
    told = waiting_reason(queued(alone, alone.alice))
    assert "the base model alone takes about 107 MiB, and laptop has 1,000 B of memory left" in told


def test_a_worker_that_is_kept_free(alone: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 30
    worker = machine(alone, name="box-1", slots=2)
    queued(alone, alone.bob)
    assert asks(worker)
    wide, behind = queued(alone, alone.alice, slots=2, ago=100), queued(alone, alone.alice, ago=50)
    assert asks(worker, slot=1) is None
    assert waiting_reason(behind) == f"1 job ahead; box-1 is kept free for job {wide.pk}, which waits for room there."


def test_it_waits_for_another_machine(alone: Cast) -> None:
    bad, other = machine(alone, name="bad"), machine(alone, name="other")
    queued(alone, alone.alice)
    order = asks(bad)
    assert order is not None
    queued(alone, alone.bob, priority=30)
    assert asks(other)
    job = back_in_queue(order, cause="node_trouble")
    assert waiting_reason(job) == "Next in line; its last attempt ended because of bad, so it waits for another machine."


def test_many_ask_one_reading_of_the_pool(cast: Cast, django_assert_max_num_queries: Any) -> None:
    jobs = [queued(cast, cast.alice, ago=50 - n) for n in range(30)]
    jobs = list(Job.objects.select_related("pool", "base_model", "team", "owner").filter(pk__in=[job.pk for job in jobs]))
    with django_assert_max_num_queries(15):
        pool = pool_now(cast.pool.pk)
        assert len({waiting_reason(job, pool=pool) for job in jobs}) == 30


def test_one_asks_a_few_queries(cast: Cast, django_assert_max_num_queries: Any) -> None:
    job = Job.objects.select_related("pool", "base_model", "team", "owner").get(pk=queued(cast, cast.alice).pk)
    with django_assert_max_num_queries(15):
        waiting_reason(job)


def test_a_revoked_worker_is_no_worker(alone: Cast) -> None:
    machine(alone, name="gone", state=Worker.State.REVOKED)
    assert "has no worker yet" in waiting_reason(queued(alone, alone.alice))
