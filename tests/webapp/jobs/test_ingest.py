"""Batches: once, in order, under the newest fence."""

from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, log, metrics
from webapp.jobs.ingest import StaleAttempt, store_batch
from webapp.jobs.lifecycle import ask_to_stop, lose_attempt
from webapp.jobs.log_cap import notice
from webapp.jobs.models import Attempt, Job, JobEvent, JobStatus
from webapp.jobs.selectors import log_text
from worker.contract.events import CheckpointRejected, CheckpointSaved, MemorySampled, PhaseStarted, Replanned
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


def test_how_far_an_attempt_came_is_kept(cast: Cast):
    _, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN.model_copy(update={"resumed_from_step": 15}), metrics(16), metrics(17)))
    store_batch(attempt, batch(attempt, CheckpointSaved(step=15, size_bytes=9), first_seq=4))
    attempt.refresh_from_db()
    assert (attempt.first_step, attempt.last_step) == (15, 17)


def test_a_trainer_that_begins_anew_within_the_attempt_does_not_move_its_first_step(cast: Cast):
    _, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(3)))
    store_batch(attempt, batch(attempt, PLAN.model_copy(update={"resumed_from_step": 2}), first_seq=3))
    attempt.refresh_from_db()
    assert (attempt.first_step, attempt.last_step) == (0, 3)


def test_a_given_checkpoint_that_was_unusable_is_no_first_step(cast: Cast):
    _, attempt = claimed(cast)
    Attempt.objects.filter(pk=attempt.pk).update(first_step=15)
    store_batch(attempt, batch(attempt, CheckpointRejected(step=15, file="optimizer.pt", reason="Torn.")))
    assert Attempt.objects.get(pk=attempt.pk).first_step == 15
    store_batch(attempt, batch(attempt, PLAN, first_seq=2))
    assert Attempt.objects.get(pk=attempt.pk).first_step == 0


def test_what_a_worker_says_of_checkpoints_and_plans_reaches_the_snapshot(cast: Cast):
    job, attempt = claimed(cast)
    plan = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "activation_checkpointing": False}
    after = {**plan, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    replanned = Replanned.model_validate({"before": plan, "after": after, "from_step": 2, "why": "CUDA ran out of memory."})
    rejected = CheckpointRejected(step=3, file="optimizer.pt", reason="Torn.")
    store_batch(attempt, batch(attempt, CheckpointSaved(step=2, size_bytes=9), rejected, replanned))
    job.refresh_from_db()
    assert job.progress["checkpoint_step"] == 2
    assert job.progress["rejected"] == {"step": 3, "file": "optimizer.pt", "reason": "Torn."}
    assert (job.progress["replanned"]["after"], job.progress["replanned"]["from_step"]) == (after, 2)


def lines(job: Job) -> list[str]:
    return [event.data["text"] for event in job.events.filter(kind="log").order_by("cursor")]


def test_a_long_log_is_cut_with_one_notice_and_an_exact_count(cast: Cast, settings: Any):
    settings.LOG_LINES_PER_JOB = 3
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, *(log(f"line {n}") for n in range(5)), metrics(1)))
    order = store_batch(attempt, batch(attempt, *(log(f"line {n}") for n in range(5, 9)), first_seq=7))
    job.refresh_from_db()
    assert lines(job) == ["line 0", "line 1", "line 2", "line 4", "line 8"]
    assert (job.progress["log_left_out"], job.progress["step"], order.acked_seq) == (9 - 5, 1, 10)
    assert [event.data["text"] for event in job.events.filter(kind="notice")] == [notice()]
    assert list(log_text(job))[-1].endswith("4 lines were left out above: the log had reached its largest size.\n")
    cursors = list(job.events.order_by("cursor").values_list("cursor", flat=True))
    assert cursors == list(range(1, len(cursors) + 1))


def test_a_log_of_long_lines_is_cut_by_its_bytes(cast: Cast, settings: Any):
    settings.LOG_BYTES_PER_JOB = 2000
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, *(log("x" * 1000) for _ in range(6))))
    job.refresh_from_db()
    assert (len(lines(job)), job.progress["log_left_out"]) == (3, 3)


def test_a_log_within_its_size_is_whole(cast: Cast, settings: Any):
    settings.LOG_LINES_PER_JOB = 3
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, *(log(f"line {n}") for n in range(3))))
    job.refresh_from_db()
    assert (len(lines(job)), "log_left_out" in job.progress) == (3, False)
    assert len(list(log_text(job))) == 3
