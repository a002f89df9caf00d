"""The first page: what runs, waits and needs attention, and the way to the first adapter."""

from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import PLAN, batch, claimed, failed, metrics, submitted
from webapp.adapters.services import publish_adapter
from webapp.datasets.models import DatasetVersion
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.pools.models import Worker


def test_it_offers_the_first_adapter(cast: Cast):
    page = text_of(signed_in(cast.alice), "/")
    assert "Train your first adapter" in page
    assert "/jobs/new?example=1" in page


def test_without_a_dataset_it_leads_to_one(cast: Cast):
    DatasetVersion.objects.all().delete()
    page = text_of(signed_in(cast.alice), "/")
    assert "/jobs/new?example=1" not in page
    assert "Upload a dataset" in page


def test_my_running_job_is_on_it(cast: Cast):
    _, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLAN, metrics(2, loss=1.75)))
    page = text_of(signed_in(cast.alice), "/")
    assert "/ 3 steps" in page
    assert "1.75" in page
    assert "Train your first adapter" not in page


def test_my_place_in_the_queue_is_on_it(cast: Cast):
    submitted(cast, name="before")
    submitted(cast, name="after")
    assert "Number 2 in pool local." in text_of(signed_in(cast.alice), "/")


def test_my_failed_job_needs_attention_and_bobs_does_not(cast: Cast):
    _, attempt = claimed(cast)
    finish_attempt(attempt, failed(attempt), publish=publish_adapter)
    assert "No row has a trainable token." in text_of(signed_in(cast.alice), "/")
    assert "No row has a trainable token." not in text_of(signed_in(cast.bob), "/")


def test_it_says_that_no_worker_is_online(cast: Cast):
    assert "No worker is online." not in text_of(signed_in(cast.alice), "/")
    Worker.objects.update(last_seen_at=None)
    assert "No worker is online." in text_of(signed_in(cast.alice), "/")


def test_another_teams_jobs_are_not_on_it(cast: Cast):
    submitted(cast, name="hidden-thing")
    assert "hidden-thing" in text_of(signed_in(cast.bob), "/")
    assert "hidden-thing" not in text_of(signed_in(cast.charlie), "/")


def test_a_stranger_signs_in_first(cast: Cast):
    assert Client().get("/").headers["Location"].startswith("/sign-in/")
