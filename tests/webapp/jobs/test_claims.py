"""Who gets a job: order, one winner, no slot twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.cast import Cast
from tests.webapp.jobs.work import claim, claimed, submitted
from webapp.jobs.claims import claim_job
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus, Priority
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
    again = claim(cast)
    first.refresh_from_db()
    assert first.status == AttemptStatus.LOST
    assert again is not None
    assert (again.job_id, again.attempt_number, again.fence) == (job.pk, 2, 2)


def test_the_order_names_all_that_the_trainer_needs(cast: Cast):
    submitted(cast)
    order = claim(cast)
    assert order is not None
    assert order.dataset.sha256 == cast.version.sha256
    assert order.spec.base_model.name_or_path == "smollm2-135m-instruct"
    assert "hub_token" not in repr(order)


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
    assert sorted(got) == sorted(set(got))
    assert Attempt.objects.filter(status=AttemptStatus.CLAIMED).count() == len(got)
    assert set(got) <= jobs
    # A claimer that lost every race may go away empty-handed; the next ring finds what is left.
    assert len(got) + Job.objects.filter(status=JobStatus.QUEUED).count() == len(jobs)
