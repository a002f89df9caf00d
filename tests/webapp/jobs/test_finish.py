"""How an attempt ends: once, with everything or nothing."""

from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import RESULTS, batch, claimed, failed, log
from webapp.jobs.finish import EventsMissing, finish_attempt
from webapp.jobs.ingest import StaleAttempt, store_batch
from webapp.jobs.lifecycle import ask_to_stop, lose_attempt
from webapp.jobs.models import Attempt, AttemptStatus, Job, JobStatus
from worker.contract.orders import ArtifactFile, Finish, Succeeded

FILE = ArtifactFile(name="adapter_model.safetensors", size_bytes=3, sha256="c" * 64)


class Publisher:
    """Remembers what it was asked to publish."""

    def __init__(self, *, broken: bool = False) -> None:
        self.asked: list[dict[str, Any]] = []
        self.broken = broken

    def __call__(self, **what: Any) -> None:
        self.asked.append(what)
        if self.broken:
            raise OSError("disk full")


def succeeded(attempt: Attempt, *, outcome: str = "finished", last_seq: int = 0) -> Finish:
    end = Succeeded.model_validate({"outcome": outcome, "results": RESULTS, "files": (FILE,)})
    return Finish(fence=attempt.fence, last_seq=last_seq, end=end)


def test_it_works(cast: Cast):
    job, attempt = claimed(cast)
    publisher = Publisher()
    finish_attempt(attempt, succeeded(attempt), publish=publisher)
    job.refresh_from_db()
    assert (job.status, attempt.status) == (JobStatus.SUCCEEDED, AttemptStatus.SUCCEEDED)
    assert [(p["files"], p["is_partial"]) for p in publisher.asked] == [((FILE,), False)]


def test_the_same_finish_twice_changes_nothing(cast: Cast):
    job, attempt = claimed(cast)
    publisher = Publisher()
    for _ in range(2):
        finish_attempt(attempt, succeeded(attempt), publish=publisher)
    assert len(publisher.asked) == 1
    assert Job.objects.get(pk=job.pk).events.filter(kind="state", data__to="succeeded").count() == 1


def test_events_come_before_the_end(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, log("a")))
    with pytest.raises(EventsMissing, match="Lines 2 to 5"):
        finish_attempt(attempt, succeeded(attempt, last_seq=5), publish=Publisher())
    assert Job.objects.get(pk=job.pk).status == JobStatus.STARTING


def test_what_cannot_be_published_has_not_ended(cast: Cast):
    job, attempt = claimed(cast)
    with pytest.raises(OSError, match="disk full"):
        finish_attempt(attempt, succeeded(attempt), publish=Publisher(broken=True))
    assert Job.objects.get(pk=job.pk).status == JobStatus.STARTING
    assert Attempt.objects.get(pk=attempt.pk).status == AttemptStatus.CLAIMED


def test_a_failure_keeps_its_cause_and_advice(cast: Cast):
    job, attempt = claimed(cast)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert job.failure["cause"] == "bad_data"
    assert "whole_row" in job.failure["advice"]


def test_a_stale_fence_ends_nothing(cast: Cast):
    job, attempt = claimed(cast)
    wrong = succeeded(attempt).model_copy(update={"fence": attempt.fence + 1})
    with pytest.raises(StaleAttempt):
        finish_attempt(attempt, wrong, publish=Publisher())
    assert Job.objects.get(pk=job.pk).status == JobStatus.STARTING


def test_a_lost_attempt_cannot_finish(cast: Cast):
    job, attempt = claimed(cast)
    lose_attempt(attempt, why="Gone.")
    publisher = Publisher()
    with pytest.raises(StaleAttempt):
        finish_attempt(attempt, succeeded(attempt), publish=publisher)
    assert publisher.asked == []
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_stop_and_save_publishes_a_partial_adapter(cast: Cast):
    job, attempt = claimed(cast)
    ask_to_stop(job, stop=Job.Stop.SAVE, by=cast.alice, why="enough")
    publisher = Publisher()
    finish_attempt(attempt, succeeded(attempt, outcome="stopped_saved"), publish=publisher)
    assert publisher.asked[0]["is_partial"] is True
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


def test_discard_publishes_nothing_even_if_the_trainer_finished(cast: Cast):
    job, attempt = claimed(cast)
    ask_to_stop(job, stop=Job.Stop.DISCARD, by=cast.alice, why="enough")
    publisher = Publisher()
    finish_attempt(attempt, succeeded(attempt), publish=publisher)
    assert publisher.asked == []
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED
