"""A job whose settings today's contract cannot read: its pages stand and say so, and what needs the settings is refused in words."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_compare import finished
from tests.webapp.jobs.test_views import TABS, signed_in, text_of
from tests.webapp.jobs.work import PLAN, batch, claimed, ended, metrics, submitted
from webapp.adapters.services import publish_adapter
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Job
from webapp.jobs.stored_spec import UNREADABLE

BROKEN: dict[str, Any] = {
    "a kind of a later version": {"quantization": {"kind": "of a later version"}},
    "a field of a later version": {"warp_factor": 9},
    "a block is missing": {"training": None, "lora": None},
}


def broken(job: Job, *, how: str = "a kind of a later version") -> Job:
    stored = {name: block for name, block in {**job.spec, **BROKEN[how]}.items() if block is not None}
    if how == "a block is missing":
        del stored["base_model"]
    Job.objects.filter(pk=job.pk).update(spec=stored)
    job.refresh_from_db()
    return job


def failed_job(cast: Cast, *, how: str = "a kind of a later version") -> Job:
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(1)))
    attempt.refresh_from_db()
    finish_attempt(attempt, ended(attempt, "diverged", step=1), publish=publish_adapter)
    return broken(job, how=how)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("tab", TABS)
class TestTabs:
    def test_of_a_waiting_job_says_so(self, cast: Cast, tab: str, how: str):
        assert UNREADABLE in text_of(signed_in(cast.alice), f"/jobs/{broken(submitted(cast), how=how).pk}/{tab}")

    def test_of_a_failed_job_says_so(self, cast: Cast, tab: str, how: str):
        assert UNREADABLE in text_of(signed_in(cast.alice), f"/jobs/{failed_job(cast, how=how).pk}/{tab}")


def test_a_running_job_shows_what_it_tells(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(1, loss=2.125)))
    page = text_of(signed_in(cast.alice), f"/jobs/{broken(job).pk}/")
    assert UNREADABLE in page
    assert "2.12" in page


def test_a_finished_one_has_its_adapter(cast: Cast):
    job = finished(cast, submitted(cast), seconds=100, peak=10)
    alice = signed_in(cast.alice)
    page = text_of(alice, f"/jobs/{broken(job).pk}/")
    assert "Download adapter" in page
    assert "Load it with PEFT" not in page
    text_of(alice, f"/adapters/{job.adapter.pk}/")


def test_the_stored_text_can_be_copied(cast: Cast):
    page = text_of(signed_in(cast.alice), f"/jobs/{broken(submitted(cast)).pk}/config/")
    assert "of a later version" in page
    assert "Settings as they are stored" in page


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("fix", ["", "&fix=lower-rate"])
def test_a_clone_has_what_can_be_read(cast: Cast, how: str, fix: str):
    text_of(signed_in(cast.alice), f"/jobs/new?clone={failed_job(cast, how=how).pk}{fix}")


@pytest.mark.parametrize(("path", "sent"), [("retry", {"from": "beginning"}), ("twin", {})])
def test_what_needs_the_settings_is_refused_in_words(cast: Cast, path: str, sent: dict[str, str]):
    job = failed_job(cast)
    page = signed_in(cast.alice).post(f"/jobs/{job.pk}/{path}", sent, follow=True).content.decode()
    assert page.count(UNREADABLE) == 2, "of the action, and of the page"
    assert Job.objects.count() == 1


def test_lists_stand(cast: Cast, client: Client):
    job = failed_job(cast)
    client.force_login(cast.alice)
    for address in ("/", "/jobs/", "/compare/", f"/compare/?jobs={job.pk}", f"/jobs/queue/{cast.pool.pk}/"):
        assert client.get(address).status_code == 200, address
    assert client.get(f"/api/v1/jobs/{job.pk}").json()["spec"]["quantization"] == {"kind": "of a later version"}


def test_another_team_finds_nothing(cast: Cast):
    assert signed_in(cast.charlie).get(f"/jobs/{broken(submitted(cast)).pk}/").status_code == 404
