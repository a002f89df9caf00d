"""The buttons of a job: what stands in its head for whom, what each does, and who is refused."""

import re
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import PLAN, batch, claimed, metrics, submitted
from webapp.adapters.services import publish_adapter
from webapp.jobs.checkpoints import folder_of
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Checkpoint, Job, JobStatus, Priority
from webapp.jobs.services import pause_job
from webapp.pools.models import Worker
from worker.contract.orders import Checkpointed, Finish

ACTIONS = {"pause": {}, "resume": {}, "retry": {"from": "beginning"}, "priority": {"priority": "10"}}


@pytest.fixture(autouse=True)
def new_worker(cast: Cast) -> None:
    """Of this version: older ones cannot pause."""
    Worker.objects.update(protocol=2)
    cast.worker.refresh_from_db()


def running(cast: Cast, *, step: int = 2) -> tuple[Job, Attempt]:
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, *(metrics(n) for n in range(1, step + 1))))
    return Job.objects.get(pk=job.pk), attempt


def with_checkpoint(attempt: Attempt, step: int) -> Checkpoint:
    """A row and its file, as kept."""
    file = {"name": "adapter_model.safetensors", "size_bytes": 3, "sha256": "a" * 64}
    kept = Checkpoint.objects.create(job=attempt.job, attempt=attempt, step=step, size_bytes=3, files=[file])
    folder_of(kept).mkdir(parents=True)
    (folder_of(kept) / "adapter_model.safetensors").write_bytes(b"abc")
    return kept


def paused(cast: Cast) -> tuple[Job, Checkpoint]:
    job, attempt = running(cast)
    kept = with_checkpoint(attempt, 2)
    pause_job(job, by=cast.ada)
    attempt.refresh_from_db()
    end = Checkpointed(step=2, why="asked")
    finish_attempt(attempt, Finish(fence=attempt.fence, last_seq=attempt.last_seq, end=end), publish=publish_adapter)
    return Job.objects.get(pk=job.pk), kept


def failed(cast: Cast, *, step: int = 0) -> Job:
    job, attempt = running(cast)
    if step:
        with_checkpoint(attempt, step)
    Attempt.objects.update(status="failed")
    Job.objects.filter(pk=job.pk).update(status="failed", failure={"cause": "node_trouble", "message": "The GPU failed."})
    return Job.objects.get(pk=job.pk)


def status(job: Job) -> str:
    return Job.objects.get(pk=job.pk).status


@pytest.mark.parametrize("action", ACTIONS)
class TestWho:
    def test_another_team_finds_nothing(self, cast: Cast, action: str):
        job, _ = running(cast)
        assert signed_in(cast.charlie).post(f"/jobs/{job.pk}/{action}", ACTIONS[action]).status_code == 404

    def test_a_team_mate_may_look_only(self, cast: Cast, action: str):
        job, _ = running(cast)
        reply = signed_in(cast.bob).post(f"/jobs/{job.pk}/{action}", ACTIONS[action], follow=True)
        assert "Only the owner of a job and administrators may" in reply.content.decode()
        assert (status(job), Job.objects.count()) == (JobStatus.RUNNING, 1)

    def test_looking_is_not_doing(self, cast: Cast, action: str):
        job, _ = running(cast)
        assert signed_in(cast.alice).get(f"/jobs/{job.pk}/{action}").status_code == 405

    def test_a_stranger_signs_in_first(self, cast: Cast, action: str):
        job, _ = running(cast)
        assert Client().post(f"/jobs/{job.pk}/{action}").headers["Location"].startswith("/sign-in/")


def test_a_team_mate_sees_no_buttons_but_clone(cast: Cast):
    job, _ = running(cast)
    page = text_of(signed_in(cast.bob), f"/jobs/{job.pk}/")
    assert f"/jobs/new?clone={job.pk}" in page
    assert all(f"/jobs/{job.pk}/{action}" not in page for action in ("pause", "resume", "retry"))
    assert "Only the owner of a job and administrators change its priority." in page


class TestPauseAndResume:
    def test_it_says_that_it_is_pausing(self, cast: Cast):
        job, _ = running(cast)
        assert signed_in(cast.alice).post(f"/jobs/{job.pk}/pause").status_code == 302
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Pausing</span>" in page
        assert "Alice asked to pause. The step that runs is finished and a checkpoint is kept" in page
        assert "It is being paused already." in page

    def test_it_says_where_it_paused_and_who_asked(self, cast: Cast):
        job, _ = paused(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Paused at step 2 by Ada; its checkpoint is kept. Resume puts it back in the queue." in page
        assert f'action="/jobs/{job.pk}/resume"' in page

    def test_resume_puts_it_back_in_the_queue(self, cast: Cast):
        job, _ = paused(cast)
        signed_in(cast.alice).post(f"/jobs/{job.pk}/resume")
        assert status(job) == JobStatus.QUEUED
        assert "Alice resumed the job; it goes on from step 2." in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")

    def test_a_queued_job_says_why_it_cannot_be_paused(self, cast: Cast):
        job = submitted(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert 'aria-disabled="true" popovertarget="why-no-pause"' in page
        assert "It can be paused once a worker runs it" in page

    def test_an_old_worker_is_named_as_the_reason(self, cast: Cast):
        job, _ = running(cast)
        Worker.objects.update(protocol=1)
        assert "Worker box is of an older version and cannot pause." in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")

    def test_resuming_what_runs_is_refused_in_words(self, cast: Cast):
        job, _ = running(cast)
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/resume", follow=True)
        assert "The job is running." in reply.content.decode()

    def test_a_paused_job_is_cancelled_with_its_checkpoint_or_without(self, cast: Cast):
        job, kept = paused(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Cancel and keep it" in page
        signed_in(cast.alice).post(f"/jobs/{job.pk}/cancel", {"stop": "save"})
        assert status(job) == JobStatus.CANCELLED
        assert Checkpoint.objects.filter(pk=kept.pk).exists()


class TestRetry:
    def test_from_the_checkpoint(self, cast: Cast):
        job = failed(cast, step=2)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Retry from step 2" in page
        assert "Retry from the beginning" in page
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/retry", {"from": "checkpoint"})
        again = Job.objects.latest("pk")
        assert reply.headers["Location"] == f"/jobs/{again.pk}/"
        assert (again.cloned_from, again.starts_from and again.starts_from.step) == (job, 2)
        told = text_of(signed_in(cast.alice), f"/jobs/{again.pk}/")
        assert "retry of</a>" not in told
        assert f'retry of <a href="/jobs/{job.pk}/">#{job.pk}</a>' in told
        assert "Alice retried it from step 2" in told

    def test_without_a_checkpoint_only_the_beginning_is_offered(self, cast: Cast):
        job = failed(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "No checkpoint is kept, so it begins anew." in page
        assert 'value="checkpoint"' not in page
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/retry", {"from": "checkpoint"}, follow=True)
        assert "No checkpoint of this job is kept any more." in reply.content.decode()

    @pytest.mark.parametrize("wish", ["", "elsewhere"])
    def test_an_unclear_wish_makes_no_job(self, cast: Cast, wish: str):
        job = failed(cast)
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/retry", {"from": wish}, follow=True)
        assert "Say whether to retry from the checkpoint" in reply.content.decode()
        assert Job.objects.count() == 1


class TestPriority:
    def test_the_owner_lowers_it(self, cast: Cast):
        job = submitted(cast)
        signed_in(cast.alice).post(f"/jobs/{job.pk}/priority", {"priority": "10"})
        assert Job.objects.get(pk=job.pk).priority == Priority.LOW
        assert "The priority is the lowest there is." in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Priority low" in text_of(signed_in(cast.alice), f"/jobs/{job.pk}/events/")

    def test_the_owner_does_not_raise_it(self, cast: Cast):
        job = submitted(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert '<option value="30" disabled>High' in page
        assert "Urgent" not in page
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/priority", {"priority": "30"}, follow=True)
        assert "Only administrators may raise a priority." in reply.content.decode()
        assert Job.objects.get(pk=job.pk).priority == Priority.NORMAL

    def test_an_administrator_gives_any(self, cast: Cast):
        job = submitted(cast)
        assert '<option value="40">Urgent' in text_of(signed_in(cast.ada), f"/jobs/{job.pk}/")
        signed_in(cast.ada).post(f"/jobs/{job.pk}/priority", {"priority": "40"})
        assert Job.objects.get(pk=job.pk).priority == Priority.URGENT

    @pytest.mark.parametrize("wish", ["", "99", "low", "-1"])
    def test_nonsense_changes_nothing(self, cast: Cast, wish: str):
        job = submitted(cast)
        reply = signed_in(cast.alice).post(f"/jobs/{job.pk}/priority", {"priority": wish}, follow=True)
        assert "Choose one of the priorities offered." in reply.content.decode()

    def test_the_form_offers_urgent_to_administrators_only(self, cast: Cast):
        offered = {
            who.name: {value for value, _ in signed_in(who).get("/jobs/new").context["form"].fields["priority"].choices}
            for who in (cast.alice, cast.ada)
        }
        assert offered == {"Alice": {10, 20, 30}, "Ada": {10, 20, 30, 40}}


class TestSelected:
    def post(self, user: Any, *jobs: Job, action: str, **more: str) -> str:
        sent = {"action": action, "job": [str(job.pk) for job in jobs], **more}
        return signed_in(user).post("/jobs/selected", sent, follow=True).content.decode()

    def test_several_are_cancelled_with_one_confirmation(self, cast: Cast):
        jobs = [submitted(cast, name=f"job-{number}") for number in range(3)]
        assert "2 jobs asked to stop." in self.post(cast.alice, *jobs[:2], action="discard")
        assert [status(job) for job in jobs] == ["cancelled", "cancelled", "queued"]

    def test_one_that_refuses_does_not_keep_the_others(self, cast: Cast):
        job, _ = running(cast)
        waiting = submitted(cast, name="waits")
        page = self.post(cast.alice, job, waiting, action="pause")
        assert "1 job asked to pause." in page
        assert f"#{waiting.pk} waits: The job has not started, so there is nothing to pause." in page
        assert (status(job), status(waiting)) == (JobStatus.PAUSING, JobStatus.QUEUED)

    def test_jobs_of_others_are_left_alone(self, cast: Cast):
        job = submitted(cast)
        assert "Only the owner of a job" in self.post(cast.bob, job, action="discard")
        assert "Select jobs in the list" in self.post(cast.charlie, job, action="discard")
        assert status(job) == JobStatus.QUEUED

    @pytest.mark.parametrize(
        "sent", [{}, {"action": "discard"}, {"action": "explode", "job": "1"}, {"action": "save", "job": ["x", "9" * 30, "-1"]}]
    )
    def test_nonsense_changes_nothing(self, cast: Cast, sent: dict[str, Any]):
        job = submitted(cast)
        page = signed_in(cast.alice).post("/jobs/selected", sent, follow=True).content.decode()
        assert "Select jobs in the list" in page
        assert status(job) == JobStatus.QUEUED

    @pytest.mark.parametrize(
        ("back", "to"), [("?state=open&page=2", "/jobs/?state=open&page=2"), ("//evil.example", "/jobs/"), ("?a\nb", "/jobs/")]
    )
    def test_one_comes_back_to_the_list(self, cast: Cast, back: str, to: str):
        sent = {"action": "discard", "job": str(submitted(cast).pk), "back": back}
        assert signed_in(cast.alice).post("/jobs/selected", sent).headers["Location"] == to

    def test_all_can_be_compared_and_one_s_own_stopped(self, cast: Cast):
        mine, _ = running(cast)
        Job.objects.filter(pk=submitted(cast, name="done").pk).update(status="succeeded")
        page = text_of(signed_in(cast.alice), "/jobs/")
        assert page.count('name="job" value') == 2
        assert re.findall(r'name="job" value="(\d+)"[^>]* data-stoppable>', page) == [str(mine.pk)]
        page = text_of(signed_in(cast.bob), "/jobs/")
        assert (page.count('name="job" value'), page.count("data-stoppable>")) == (2, 0)


def test_paused_jobs_have_a_filter(cast: Cast):
    job, _ = paused(cast)
    submitted(cast, name="second")
    page = text_of(signed_in(cast.alice), "/jobs/?state=paused")
    assert f"/jobs/{job.pk}/" in page
    assert "second" not in page
