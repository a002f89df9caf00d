"""Workers that come back too late: refused, counted, told of once."""

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, claimed_again, failed, kept, metrics
from tests.webapp.worker_api.test_attempts import Knock, code_of
from webapp.jobs.fencing import refuse_late
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, AttemptStatus, Job


@pytest.fixture
def door() -> Knock:
    return Knock()


def lost_at_45(cast: Cast) -> tuple[Job, Attempt]:
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(44)))
    kept(attempt, step=30)
    lose_attempt(attempt, why="Gone.")
    attempt.refresh_from_db()
    return job, attempt


def test_its_first_word_is_an_event_with_what_is_repeated(cast: Cast, door: Knock):
    job, first = lost_at_45(cast)
    second = claimed_again(cast, job)
    store_batch(second, batch(second, PLAN.model_copy(update={"resumed_from_step": 30})))
    late = batch(first, metrics(45), first_seq=3)
    assert code_of(door.post(f"attempts/{first.pk}/events", late)) == (409, "stale_attempt")
    first.refresh_from_db()
    assert (first.status, first.refused_posts, first.last_step) == (AttemptStatus.FENCED, 1, 44)
    told = job.events.get(kind="attempt", data__to="fenced").data
    assert (told["told_step"], told["went_on_from"], told["repeated_steps"]) == (45, 30, 15)
    assert told["why"] == (
        "Worker box came back with attempt 1 (told of steps up to 45; the job goes on from step 30): refused. 15 steps are trained again."
    )
    assert not job.events.filter(attempt=first, seq=3).exists()
    assert Attempt.objects.get(pk=second.pk).status == AttemptStatus.RUNNING


def test_further_words_are_only_counted(cast: Cast, door: Knock):
    job, first = lost_at_45(cast)
    for _ in range(3):
        door.post(f"attempts/{first.pk}/events", batch(first, metrics(45), first_seq=3))
    door.post(f"attempts/{first.pk}/finish", failed(first, last_seq=2))
    door.get(f"attempts/{first.pk}/dataset?fence={first.fence}")
    first.refresh_from_db()
    assert first.refused_posts == 5
    assert job.events.filter(kind="attempt", data__to="fenced").count() == 1


def test_before_the_next_attempt_it_says_where_the_job_will_go_on(cast: Cast):
    job, first = lost_at_45(cast)
    refuse_late(first)
    told = job.events.get(kind="attempt", data__to="fenced").data
    assert (told["told_step"], told["went_on_from"], told["repeated_steps"]) == (44, 30, 14)


def test_a_wrong_fence_of_an_open_attempt_is_no_return(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    wrong = batch(attempt, metrics(1)).model_copy(update={"fence": attempt.fence + 7})
    assert code_of(door.post(f"attempts/{attempt.pk}/events", wrong)) == (409, "stale_attempt")
    attempt.refresh_from_db()
    assert (attempt.status, attempt.refused_posts) == (AttemptStatus.CLAIMED, 0)


def test_an_attempt_that_ended_in_order_stays_as_it_ended(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    assert door.post(f"attempts/{attempt.pk}/finish", failed(attempt)).status_code == 200
    assert code_of(door.post(f"attempts/{attempt.pk}/events", batch(attempt, metrics(9)))) == (409, "stale_attempt")
    attempt.refresh_from_db()
    assert (attempt.status, attempt.refused_posts) == (AttemptStatus.FAILED, 1)
