"""Attempts, checkpoints and what changed a run, as the pages tell them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.jobs.test_controls import failed, paused, running, with_checkpoint
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import PLAN, batch, claim, metrics, submitted
from webapp.jobs.attempt_story import attempts_told, marks_of
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Job
from webapp.pools.models import Worker
from worker.contract.events import CheckpointRejected, NoticeGiven, Replanned
from worker.contract.plan import PassPlan

ASKED = PassPlan(per_device_train_batch_size=4, gradient_accumulation_steps=4, activation_checkpointing=False)
WHY = "CUDA ran out of memory at step 12"


@pytest.fixture(autouse=True)
def new_worker(cast: Cast) -> None:
    Worker.objects.update(protocol=2)
    cast.worker.refresh_from_db()


def second_attempt(cast: Cast) -> tuple[Job, Attempt]:
    """Lost at step 5 with a checkpoint of step 3; the second attempt goes on from there."""
    job, attempt = running(cast, step=5)
    with_checkpoint(attempt, 3)
    lose_attempt(attempt, why="Worker box has not been heard of for 30 s.")
    Attempt.objects.filter(pk=attempt.pk).update(refused_posts=2)
    Job.objects.filter(pk=job.pk).update(not_before=None)
    order = claim(cast)
    assert order is not None
    again = Attempt.objects.select_related("worker", "job").get(pk=order.attempt_id)
    store_batch(again, batch(again, PLAN.model_copy(update={"resumed_from_step": 3}), metrics(4)))
    return Job.objects.get(pk=job.pk), again


class TestAttempts:
    def test_the_head_says_which_attempt_runs_and_from_where(self, cast: Cast):
        job, _ = second_attempt(cast)
        assert "Attempt 2 of this job, from step 3, on box" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")

    def test_the_events_tab_tells_each(self, cast: Cast):
        job, _ = second_attempt(cast)
        page = text_of(signed_in(cast.bob), f"/jobs/{job.pk}/events/")
        told = ("0 to 5", "3 to 4", "2 of them repeated", "its worker went away", "2 late posts refused", "Attempt 1 lost")
        assert [words for words in told if words not in page] == []

    def test_steps_that_no_checkpoint_kept_count_as_repeated(self, cast: Cast):
        job, _ = second_attempt(cast)
        assert [(each.attempt.first_step, each.repeated) for each in attempts_told(job)] == [(0, 0), (3, 2)]

    def test_a_job_that_nobody_took_has_none(self, cast: Cast):
        job = submitted(cast)
        assert "No worker has taken the job yet." in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/events/")

    def test_a_job_that_waits_for_its_next_try_says_when(self, cast: Cast):
        job, attempt = running(cast)
        lose_attempt(attempt, why="Worker box is gone.")
        Job.objects.filter(pk=job.pk).update(not_before=timezone.now() + timedelta(minutes=5))
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "1 of 5, not before" in page
        assert "It starts again from the beginning: no checkpoint is kept." in page


class TestChanges:
    def test_a_smaller_plan_is_said_loudly(self, cast: Cast):
        job, attempt = running(cast, step=1)
        after = ASKED.model_copy(update={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8})
        told = Replanned(before=ASKED, after=after, from_step=12, why=WHY)
        store_batch(attempt, batch(attempt, told, NoticeGiven(text="3 rows were cut."), first_seq=3))
        said = f"{WHY}. It goes on with 2 rows a pass and 8 passes a step instead of 4 and 4; the result stays the same."
        live, events = (text_of(signed_in(cast.alice), f"/jobs/{job.pk}/{tab}") for tab in ("", "events/"))
        assert said in live
        assert said in events
        assert "3 rows were cut." in live

    def test_checkpointing_of_activations_is_said(self, cast: Cast):
        job, attempt = running(cast, step=1)
        after = ASKED.model_copy(update={"activation_checkpointing": True})
        store_batch(attempt, batch(attempt, Replanned(before=ASKED, after=after, from_step=0, why=WHY), first_seq=3))
        assert "It goes on with activation checkpointing; the result" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")

    def test_a_torn_checkpoint_is_never_silent(self, cast: Cast):
        job, attempt = running(cast, step=1)
        torn = CheckpointRejected(step=9, file="optimizer.pt", reason="The hash <b>differs</b>")
        store_batch(attempt, batch(attempt, torn, first_seq=3))
        for tab in ("", "events/"):
            page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/{tab}")
            assert "Checkpoint of step 9 refused" in page
            assert "optimizer.pt: The hash &lt;b&gt;differs" in page


class TestMarks:
    def test_the_first_plan_is_no_mark(self, cast: Cast):
        job, _ = running(cast)
        assert marks_of(job) == {"lines": [], "planned": True}

    def test_a_second_attempt_and_a_smaller_plan_are(self, cast: Cast):
        job, again = second_attempt(cast)
        store_batch(again, batch(again, Replanned(before=ASKED, after=ASKED, from_step=3, why=WHY), first_seq=3))
        lines = marks_of(job)["lines"]
        assert [(line["step"], line["label"]) for line in lines] == [(3, "goes on"), (3, "smaller passes")]

    def test_they_are_on_the_page_at_first_paint(self, cast: Cast):
        job, _ = second_attempt(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        live = json.loads(page.split('<script id="job-live" type="application/json">')[1].split("</script>")[0])
        assert [line["step"] for line in live["marks"]["lines"]] == [3]


class TestCheckpoints:
    def test_the_newest_says_what_it_is_for(self, cast: Cast):
        job, _ = paused(cast)
        page = text_of(signed_in(cast.bob), f"/jobs/{job.pk}/checkpoints/")
        assert "Step 2" in page
        assert "Resume goes on from here." in page

    def test_nothing_kept_is_said_honestly(self, cast: Cast):
        job = submitted(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/checkpoints/")
        assert "No checkpoint is kept" in page
        assert "about every ten minutes" in page

    def test_a_retry_names_the_job_that_it_begins_from(self, cast: Cast):
        job = failed(cast, step=2)
        signed_in(cast.alice).post(f"/jobs/{job.pk}/retry", {"from": "checkpoint"})
        page = text_of(signed_in(cast.alice), f"/jobs/{Job.objects.latest('pk').pk}/checkpoints/")
        assert f'from step 2 of <a href="/jobs/{job.pk}/">#{job.pk}</a>' in page

    @pytest.mark.parametrize(("who", "code"), [("alice", 200), ("ada", 200), ("bob", 403), ("charlie", 404)])
    def test_its_files_are_for_the_owner_and_administrators(self, cast: Cast, who: str, code: int):
        job, kept = paused(cast)
        address = f"/jobs/{job.pk}/checkpoints/{kept.pk}/adapter_model.safetensors"
        reply = signed_in(getattr(cast, who)).get(address)
        assert reply.status_code == code
        assert (address in signed_in(cast.alice).get(f"/jobs/{job.pk}/checkpoints/").content.decode()) is True
        if code == 200:
            assert reply.headers["x-nibble-send-file"].endswith(f"/{kept.pk}/adapter_model.safetensors")
            assert reply.headers["x-nibble-send-name"] == "step-2-adapter_model.safetensors"

    @pytest.mark.parametrize("name", ["secret_key", "..%2Fsecret_key", "manifest.json"])
    def test_a_name_that_is_not_in_its_list_is_not_there(self, cast: Cast, name: str):
        job, kept = paused(cast)
        assert signed_in(cast.alice).get(f"/jobs/{job.pk}/checkpoints/{kept.pk}/{name}").status_code == 404

    def test_a_checkpoint_of_another_job_is_not_there(self, cast: Cast, django_assert_max_num_queries: Any):
        _, kept = paused(cast)
        other = submitted(cast, name="other")
        assert signed_in(cast.alice).get(f"/jobs/{other.pk}/checkpoints/{kept.pk}/adapter_model.safetensors").status_code == 404
