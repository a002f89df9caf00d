"""Batches: once, in order, under the newest fence."""

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, log, metrics
from webapp.jobs.ingest import StaleAttempt, store_batch
from webapp.jobs.lifecycle import ask_to_stop, lose_attempt
from webapp.jobs.models import Attempt, Job, JobEvent, JobStatus
from worker.contract.events import MemorySampled, PhaseStarted
from worker.contract.orders import EventBatch


def stored(attempt: Attempt) -> list[int]:
    return list(JobEvent.objects.filter(attempt=attempt, seq__isnull=False).order_by("cursor").values_list("seq", flat=True))


def test_it_works(cast: Cast):
    job, attempt = claimed(cast)
    order = store_batch(
        attempt, batch(attempt, PhaseStarted(phase="loading base model"), PLAN, metrics(1, loss=3.0), metrics(2, loss=2.5))
    )
    assert (order.order, order.acked_seq) == ("continue", 4)
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING
    assert (job.progress["step"], job.progress["loss"], job.progress["first_loss"], job.progress["max_steps"]) == (2, 2.5, 3.0, 3)


def test_a_batch_that_comes_twice_is_stored_once(cast: Cast):
    _, attempt = claimed(cast)
    same = batch(attempt, log("a"), log("b"))
    store_batch(attempt, same)
    assert store_batch(attempt, same).acked_seq == 2
    assert stored(attempt) == [1, 2]


def test_an_overlapping_batch_adds_only_what_is_new(cast: Cast):
    _, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, log("a"), log("b")))
    assert store_batch(attempt, batch(attempt, log("b"), log("c"), first_seq=2)).acked_seq == 3
    assert stored(attempt) == [1, 2, 3]


def test_a_batch_after_a_gap_is_asked_for_again(cast: Cast):
    _, attempt = claimed(cast)
    assert store_batch(attempt, batch(attempt, log("c"), first_seq=3)).acked_seq == 0
    assert stored(attempt) == []


def test_an_empty_batch_renews_the_lease(cast: Cast):
    _, attempt = claimed(cast)
    before = Attempt.objects.get(pk=attempt.pk).lease_until
    store_batch(attempt, EventBatch(fence=attempt.fence, first_seq=1))
    assert Attempt.objects.get(pk=attempt.pk).lease_until > before


def test_a_wrong_fence_changes_nothing(cast: Cast):
    _, attempt = claimed(cast)
    before = Attempt.objects.get(pk=attempt.pk).lease_until
    with pytest.raises(StaleAttempt):
        store_batch(attempt, EventBatch(fence=attempt.fence + 1, first_seq=1, events=(log("late"),)))
    assert stored(attempt) == []
    assert Attempt.objects.get(pk=attempt.pk).lease_until == before


def test_a_lost_attempt_that_wakes_up_is_told_to_stop(cast: Cast):
    _, attempt = claimed(cast)
    lose_attempt(attempt, why="Gone.")
    with pytest.raises(StaleAttempt):
        store_batch(attempt, batch(attempt, log("I am back")))


@pytest.mark.parametrize(("stop", "order"), [(Job.Stop.SAVE, "stop_and_save"), (Job.Stop.DISCARD, "stop_and_discard")])
def test_the_reply_is_the_order_back(cast: Cast, stop: Job.Stop, order: str):
    job, attempt = claimed(cast)
    assert ask_to_stop(job, stop=stop, by=cast.alice, why="enough")
    assert store_batch(attempt, batch(attempt, log("a"))).order == order


def test_memory_reaches_the_snapshot(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, MemorySampled(step=1, rss_bytes=123)))
    job.refresh_from_db()
    assert job.progress["memory"] == {"rss_bytes": 123}
