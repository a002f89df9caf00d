"""The judge of all other tests: each broken promise, planted by hand into a cluster in order, is found."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.faults import invariants
from tests.faults.cluster import Clocks, Cluster
from tests.faults.scripted_worker import ScriptedWorker
from webapp.adapters.models import Adapter
from webapp.jobs.models import Attempt, HeldSlot, Job, JobEvent, JobStatus
from webapp.pools.models import WorkerPool

CLOCKS = Clocks()


def unfinish(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)


def move_after_the_end(job: Job) -> None:
    moved = JobEvent.objects.filter(job=job, kind="state").last()
    assert moved is not None
    JobEvent.objects.filter(pk=moved.pk).update(data={**moved.data, "from": "failed"})


def lose_an_event(job: Job) -> None:
    JobEvent.objects.filter(job=job, kind="plan").first().delete()  # type: ignore[union-attr]


def swap_the_attempt(job: Job) -> None:
    line = JobEvent.objects.filter(job=job, kind="plan").first()
    assert line is not None
    line.attempt = second_attempt(job, after=timedelta(hours=1))
    line.save()


def second_attempt(job: Job, *, after: timedelta) -> Attempt:
    first = Attempt.objects.get(job=job, number=1)
    copy = Attempt(job=job, number=2, fence=2, worker=first.worker, status="lost", lease_until=first.lease_until, slot=7)
    copy.ended_at = first.ended_at
    copy.save()
    assert first.ended_at is not None
    Attempt.objects.filter(pk=copy.pk).update(claimed_at=first.ended_at + after, ended_at=first.ended_at + 2 * after)
    return copy


def overlap(job: Job) -> None:
    second_attempt(job, after=timedelta(microseconds=-1))


def hold_a_slot(job: Job) -> None:
    attempt = Attempt.objects.get(job=job)
    HeldSlot.objects.create(attempt=attempt, worker=attempt.worker, slot=5)


def forget_the_adapter(job: Job) -> None:
    Adapter.objects.filter(job=job).delete()


def change_a_byte(job: Job) -> None:
    (Adapter.objects.get(job=job).folder / "adapter_model.safetensors").write_text("other bytes")


PLANTED: list[tuple[Callable[[Job], None], str]] = [
    (unfinish, "I1"),
    (move_after_the_end, "I4"),
    (lose_an_event, "I3"),
    (swap_the_attempt, "I2"),
    (overlap, "I7"),
    (hold_a_slot, "I7"),
    (forget_the_adapter, "I6"),
    (change_a_byte, "I5"),
]


@pytest.mark.parametrize(("plant", "promise"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_broken_promise_is_found(cluster: Cluster, pool: WorkerPool, plant: Callable[[Job], None], promise: str) -> None:
    job = cluster.submit("in order", pool=pool)
    worker = ScriptedWorker.join(cluster, pool, name="scripted")
    work = worker.claim()
    worker.start(work)
    worker.upload(work)
    assert worker.finish(work).status_code == 200
    invariants.assert_invariants(cluster)
    plant(job)
    with pytest.raises(AssertionError, match=promise):
        invariants.assert_invariants(cluster)
