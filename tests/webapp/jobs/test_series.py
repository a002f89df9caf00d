"""The points of the charts and the log lines, as the job page fetches them."""

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, claimed_again, log, metrics
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.series import series_of
from worker.contract.events import MemorySampled, MetricsLogged


def test_points_come_in_columns(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, metrics(1, loss=3.0), MemorySampled(step=1, rss_bytes=7), metrics(2, loss=2.5)))
    job.refresh_from_db()
    series = series_of(job)
    assert (series["metrics"]["step"], series["metrics"]["loss"]) == ([1, 2], [3.0, 2.5])
    assert (series["memory"]["rss_bytes"], series["memory"]["cuda_peak_bytes"]) == ([7], [None])
    assert series["cursor"] == job.last_cursor


def test_an_evaluation_joins_the_point_of_its_step(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, metrics(1, loss=3.0), MetricsLogged(step=1, epoch=0.3, eval_loss=2.9)))
    job.refresh_from_db()
    points = series_of(job)["metrics"]
    assert (points["step"], points["loss"], points["eval_loss"]) == ([1], [3.0], [2.9])


def test_a_repeated_step_shows_the_later_attempt(cast: Cast):
    job, first = claimed(cast)
    store_batch(first, batch(first, metrics(1, loss=3.0), metrics(2, loss=9.9)))
    lose_attempt(first, why="Gone.")
    second = claimed_again(cast, job)
    store_batch(second, batch(second, metrics(2, loss=2.5)))
    job.refresh_from_db()
    assert series_of(job)["metrics"]["loss"] == [3.0, 2.5]


@pytest.mark.parametrize(
    ("resumed", "steps", "losses"), [(1, [1, 2], [3.0, 2.4]), (None, [2], [2.4])], ids=["from step 1", "from the beginning"]
)
def test_what_is_trained_again_is_void(cast: Cast, resumed: int | None, steps: list[int], losses: list[float]):
    """Also steps that the new attempt has not reached yet: its weights do not come from them."""
    job, first = claimed(cast)
    store_batch(first, batch(first, PLAN, metrics(1, loss=3.0), metrics(2, loss=9.8), metrics(3, loss=9.9)))
    lose_attempt(first, why="Gone.")
    second = claimed_again(cast, job)
    store_batch(second, batch(second, PLAN.model_copy(update={"resumed_from_step": resumed}), metrics(2, loss=2.4)))
    job.refresh_from_db()
    points = series_of(job)["metrics"]
    assert (points["step"], points["loss"]) == (steps, losses)


@pytest.mark.parametrize("feed", ["series.json", "log.json", "log.txt"])
def test_another_teams_job_is_not_there(cast: Cast, client: Client, feed: str):
    job, _ = claimed(cast)
    client.force_login(cast.charlie)
    assert client.get(f"/jobs/{job.pk}/{feed}").status_code == 404
    client.force_login(cast.bob)
    assert client.get(f"/jobs/{job.pk}/{feed}").status_code == 200


def test_the_log_is_read_backwards(cast: Cast, client: Client):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, *(log(f"line {n}") for n in range(5))))
    client.force_login(cast.alice)
    last = client.get(f"/jobs/{job.pk}/log.json?limit=2").json()
    assert ([line["text"] for line in last["lines"]], last["more"]) == (["line 3", "line 4"], True)
    before = client.get(f"/jobs/{job.pk}/log.json?limit=5&before={last['lines'][0]['cursor']}").json()
    assert ([line["text"] for line in before["lines"]], before["more"]) == (["line 0", "line 1", "line 2"], False)


@pytest.mark.parametrize("query", ["limit=-1", "limit=abc", "before=x", "limit=99999999999999999999999"])
def test_odd_numbers_are_read_as_the_default(cast: Cast, client: Client, query: str):
    job, _ = claimed(cast)
    client.force_login(cast.alice)
    assert client.get(f"/jobs/{job.pk}/log.json?{query}").status_code == 200
