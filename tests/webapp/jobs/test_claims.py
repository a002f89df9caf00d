"""Who gets a job: order, one winner, no slot twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.cast import Cast
from tests.webapp.jobs.queueing import asks, machine, several
from tests.webapp.jobs.work import claim, claimed, submitted, without_pause
from webapp.jobs.claims import claim_job
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, AttemptStatus, HeldSlot, Job, JobStatus, Priority
from webapp.pools.models import Worker, WorkerPool
from worker.contract.orders import Claim


def test_it_works(cast: Cast):
    job, attempt = claimed(cast)
    assert (job.status, job.fence, attempt.number, attempt.fence) == (JobStatus.STARTING, 1, 1, 1)
    assert attempt.lease_until > attempt.claimed_at


def test_nothing_queued_is_nothing_to_do(cast: Cast):
    assert claim(cast) is None


def test_higher_priority_goes_first_then_the_older(cast: Cast):
    old, new, urgent = (submitted(cast, name=name) for name in ("old", "new", "urgent"))
    Job.objects.filter(pk=urgent.pk).update(priority=Priority.HIGH)
    Worker.objects.filter(pk=cast.worker.pk).update(slots=3)
    cast.worker.refresh_from_db()
    orders = [claim(cast, slot=slot) for slot in range(3)]
    assert [order.job_id for order in orders if order] == [urgent.pk, old.pk, new.pk]


def test_a_draining_worker_gets_nothing(cast: Cast):
    submitted(cast)
    cast.worker.state = Worker.State.DRAINING
    assert claim(cast) is None


def test_another_pool_gets_nothing(cast: Cast):
    submitted(cast)
    other = WorkerPool.objects.create(name="other")
    stranger = Worker.objects.create(pool=other, name="far", token_hash="b" * 64)
    assert claim_job(stranger, Claim(free_memory_bytes=1)) is None


def test_a_slot_beyond_the_workers_gets_nothing(cast: Cast):
    submitted(cast)
    assert claim(cast, slot=7) is None


def test_an_agent_that_asks_again_gives_up_what_it_held(cast: Cast):
    job, first = claimed(cast)
    assert claim(cast) is None, "the pause before its retry"
    first.refresh_from_db()
    assert first.status == AttemptStatus.LOST
    without_pause(job)
    again = claim(cast)
    assert again is not None
    assert (again.job_id, again.attempt_number, again.fence) == (job.pk, 2, 2)


def test_the_order_names_all_that_the_trainer_needs(cast: Cast):
    submitted(cast)
    order = claim(cast)
    assert order is not None
    assert order.dataset.sha256 == cast.version.sha256
    assert order.spec.base_model.name_or_path == "smollm2-135m-instruct"
    assert "hub_token" not in repr(order)


def wide(cast: Cast, *, slots: int, name: str = "wide") -> Job:
    """A job that takes several slots of one host."""
    job = submitted(cast, name=name)
    Job.objects.filter(pk=job.pk).update(slots=slots)
    return job


def host_with(cast: Cast, slots: int) -> None:
    Worker.objects.filter(pk=cast.worker.pk).update(slots=slots)
    cast.worker.refresh_from_db()


def test_a_job_on_several_gpus_is_one_claim_of_several_slots(cast: Cast):
    host_with(cast, 4)
    job = wide(cast, slots=3)
    order = claim(cast, slot=1)
    assert order is not None
    assert (order.job_id, order.slots) == (job.pk, (1, 0, 2))
    assert Attempt.objects.filter(job=job).count() == 1
    submitted(cast, name="behind")
    assert claim(cast, slot=0) is None, "this slot belongs to the attempt of slot 1"
    last = claim(cast, slot=3)
    assert last is not None
    assert last.slots == (3,)


def test_it_waits_for_a_host_with_room_while_a_smaller_one_goes_first(cast: Cast):
    host_with(cast, 2)
    first = submitted(cast, name="holds one")
    assert claim(cast, slot=0) is not None
    job, small = wide(cast, slots=2), submitted(cast, name="small")
    order = claim(cast, slot=1)
    assert order is not None
    assert order.job_id == small.pk
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED
    assert Job.objects.get(pk=first.pk).status == JobStatus.STARTING


def test_an_end_gives_every_slot_back(cast: Cast):
    host_with(cast, 2)
    wide(cast, slots=2)
    order = claim(cast, slot=0)
    assert order is not None
    assert HeldSlot.objects.count() == 2
    attempt = Attempt.objects.get(pk=order.attempt_id)
    assert lose_attempt(attempt, why="Gone.")
    assert HeldSlot.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_many_claimers_never_share_a_job():
    from tests.cast import meet_the_cast

    cast = meet_the_cast()
    Worker.objects.filter(pk=cast.worker.pk).update(slots=8)
    cast.worker.refresh_from_db()
    jobs = {submitted(cast, name=f"job {n}").pk for n in range(6)}

    def ask(slot: int) -> int | None:
        try:
            order = claim(cast, slot=slot)
            return order.job_id if order else None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as claimers:
        got = [job for job in claimers.map(ask, range(8)) if job is not None]
    assert set(got) == jobs, "each job went once, and nobody who could have had one went away empty-handed"
    assert len(got) == len(jobs) == Attempt.objects.filter(status=AttemptStatus.CLAIMED).count()


@pytest.mark.django_db(transaction=True)
def test_thirty_two_workers_at_once_each_get_a_job_of_their_own():
    from tests.cast import meet_the_cast

    cast = meet_the_cast()
    for member in (cast.alice, cast.bob, cast.charlie):
        several(cast, member, 20)
    workers = [machine(cast, name=f"m{n}") for n in range(32)]

    def ask(worker: Worker) -> int | None:
        try:
            order = asks(worker)
            return order.job_id if order else None
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as claimers:
        got = list(claimers.map(ask, workers))
    assert None not in got
    assert len(set(got)) == 32
    of_sales = Job.objects.filter(pk__in=got, team=cast.charlie.team_id).count()
    assert of_sales == 16, "shares are exact though all asked at once: half for each team"


def test_what_it_needs_is_estimated_when_it_is_submitted(cast: Cast):
    job = submitted(cast)
    assert job.memory_bytes is not None
    assert 2**30 < job.memory_bytes < 2**32
    type(cast.base_model).objects.update(shape=None)
    cast.base_model.refresh_from_db()
    assert submitted(cast, name="unknown").memory_bytes is None
