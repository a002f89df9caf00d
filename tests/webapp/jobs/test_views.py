"""Pages of jobs: who sees them, what they say in each state, what a filter keeps."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claim, claimed, failed, log, metrics, submitted
from webapp.adapters.services import publish_adapter
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Job, JobStatus
from worker.contract.events import NoticeGiven, PhaseStarted

TABS = ("", "events/", "checkpoints/", "logs/", "config/")


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("tab", TABS)
class TestTabs:
    def test_it_works(self, cast: Cast, tab: str):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PLAN, metrics(1), log("hello")))
        assert job.name in text_of(signed_in(cast.bob), f"/jobs/{job.pk}/{tab}")

    def test_another_team_finds_nothing(self, cast: Cast, tab: str):
        assert signed_in(cast.charlie).get(f"/jobs/{submitted(cast).pk}/{tab}").status_code == 404

    def test_an_administrator_sees_every_team(self, cast: Cast, tab: str):
        assert signed_in(cast.ada).get(f"/jobs/{submitted(cast).pk}/{tab}").status_code == 200

    def test_an_unknown_job_is_not_there(self, cast: Cast, tab: str):
        assert signed_in(cast.alice).get(f"/jobs/999/{tab}").status_code == 404

    def test_a_stranger_signs_in_first(self, cast: Cast, tab: str):
        answer = Client().get(f"/jobs/{submitted(cast).pk}/{tab}")
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/sign-in/")


class TestJobPage:
    def test_a_queued_job_says_its_place_and_why_it_waits(self, cast: Cast):
        submitted(cast, name="before")
        job = submitted(cast, name="after")
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Number 2 in the queue of pool local" in page
        assert "1 job ahead" in page
        assert "before" in page

    def test_it_names_no_job_of_another_team(self, cast: Cast):
        secret = submitted(cast, name="secret-project")
        Job.objects.filter(pk=secret.pk).update(team=cast.charlie.team, owner=cast.charlie)
        page = text_of(signed_in(cast.alice), f"/jobs/{submitted(cast).pk}/")
        assert "a job of another team" in page
        assert "secret-project" not in page

    def test_a_starting_job_says_what_is_being_loaded(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PhaseStarted(phase="loading base model", detail="2 files, 269 MB")))
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "Loading base model" in page
        assert "2 files, 269 MB" in page

    def test_a_running_job_shows_its_figures_at_first_paint(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PLAN, metrics(1, loss=3.5), metrics(2, loss=1.25)))
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        assert "1.25" in page
        assert "2.25 since start" in page
        assert f'"cursor": {Job.objects.get(pk=job.pk).last_cursor}' in page

    def test_a_failed_job_opens_on_cause_evidence_and_advice(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, log("every row is masked")))
        finish_attempt(attempt, failed(attempt, last_seq=1), publish=publish_adapter)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/")
        at = [
            page.index(part)
            for part in ("No row has a trainable token.", "every row is masked", "Use train_on whole_row.", 'id="figures"')
        ]
        assert at == sorted(at)

    def test_a_job_that_lost_its_worker_says_so(self, cast: Cast):
        job, attempt = claimed(cast)
        lose_attempt(attempt, why="Worker box has not been heard of for 30 s.")
        assert "Worker box has not been heard of for 30 s. The job is queued again." in text_of(
            signed_in(cast.alice), f"/jobs/{job.pk}/"
        )

    def test_text_of_workers_is_never_markup(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(
            attempt, batch(attempt, PhaseStarted(phase="<b>x", detail="</script><script>alert(1)"), NoticeGiven(text="<i>n"))
        )
        for tab in TABS:
            page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/{tab}")
            assert "<script>alert" not in page
            assert "<i>n" not in page

    def test_events_say_who_and_why(self, cast: Cast):
        job, _ = claimed(cast)
        page = text_of(signed_in(cast.alice), f"/jobs/{job.pk}/events/")
        for words in ("Submitted to pool local.", "Alice", "Claimed by worker box", "worker box"):
            assert words in page

    def test_config_shows_table_yaml_and_python(self, cast: Cast):
        page = text_of(signed_in(cast.alice), f"/jobs/{submitted(cast).pk}/config/")
        for words in ("Rank (r)", "lora_alpha: 32", "BitsAndBytesConfig(", "SFTConfig("):
            assert words in page


class TestCancel:
    def test_it_cancels_a_queued_job(self, cast: Cast):
        job = submitted(cast)
        assert signed_in(cast.alice).post(f"/jobs/{job.pk}/cancel", {"stop": "discard"}).status_code == 302
        assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED

    @pytest.mark.parametrize(("stop", "wish"), [("save", Job.Stop.SAVE), ("discard", Job.Stop.DISCARD)])
    def test_it_asks_the_worker_of_a_held_job(self, cast: Cast, stop: str, wish: str):
        job, _ = claimed(cast)
        signed_in(cast.alice).post(f"/jobs/{job.pk}/cancel", {"stop": stop})
        job.refresh_from_db()
        assert (job.status, job.stop_requested) == (JobStatus.STOPPING, wish)

    def test_a_team_mate_may_look_only(self, cast: Cast):
        job = submitted(cast)
        answer = signed_in(cast.bob).post(f"/jobs/{job.pk}/cancel", {"stop": "discard"}, follow=True)
        assert "Only the owner of a job" in answer.content.decode()
        assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED
        assert "stop-job" not in text_of(signed_in(cast.bob), f"/jobs/{job.pk}/")

    def test_another_team_finds_nothing(self, cast: Cast):
        job = submitted(cast)
        assert signed_in(cast.charlie).post(f"/jobs/{job.pk}/cancel", {"stop": "discard"}).status_code == 404
        assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED

    @pytest.mark.parametrize("stop", ["", "maybe"])
    def test_an_unclear_wish_changes_nothing(self, cast: Cast, stop: str):
        job = submitted(cast)
        answer = signed_in(cast.alice).post(f"/jobs/{job.pk}/cancel", {"stop": stop}, follow=True)
        assert "Say whether to save" in answer.content.decode()
        assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED

    def test_looking_is_not_cancelling(self, cast: Cast):
        assert signed_in(cast.alice).get(f"/jobs/{submitted(cast).pk}/cancel").status_code == 405


class TestList:
    def test_it_works(self, cast: Cast):
        assert submitted(cast).name in text_of(signed_in(cast.bob), "/jobs/")

    def test_another_team_sees_its_own_emptiness(self, cast: Cast):
        submitted(cast, name="hidden-thing")
        page = text_of(signed_in(cast.charlie), "/jobs/")
        assert "hidden-thing" not in page
        assert "No jobs yet" in page

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ("", {"one", "two"}),
            ("?mine=1", set()),
            ("?q=TW", {"two"}),
            ("?state=running", {"one"}),
            ("?state=queued", {"two"}),
            ("?state=failed", set()),
            ("?state=nonsense&page=99999&q=%00", {"one", "two"}),
        ],
    )
    def test_a_filter_keeps_what_it_says(self, cast: Cast, query: str, shown: set[str]):
        submitted(cast, name="one")
        claim(cast)
        submitted(cast, name="two")
        page = text_of(signed_in(cast.bob), f"/jobs/{query}")
        assert {name for name in ("one", "two") if f">{name}</a>" in page} == shown

    def test_pages_follow_each_other(self, cast: Cast):
        for number in range(27):
            submitted(cast, name=f"job-{number:02}")
        first, second = (text_of(signed_in(cast.alice), address) for address in ("/jobs/", "/jobs/?page=2"))
        assert "job-26" in first
        assert "job-00" not in first
        assert "job-00" in second
        assert "26 to 27 of 27" in second

    def test_a_longer_list_asks_no_more_questions(self, cast: Cast, django_assert_max_num_queries: Any):
        for number in range(10):
            submitted(cast, name=f"job-{number}")
        client = signed_in(cast.alice)
        with django_assert_max_num_queries(14):
            client.get("/jobs/")
