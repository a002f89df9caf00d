"""The queue of a pool as a page: who sees what, and who may change the order."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.work import submitted
from webapp.jobs.models import Job, UsedTime
from webapp.jobs.queue import queue_of
from webapp.pools.models import Worker


@pytest.fixture
def jobs(cast: Cast) -> list[Job]:
    return [submitted(cast, name=f"job-{number}") for number in range(3)]


def order(cast: Cast) -> list[str]:
    return [job.name for job in queue_of(cast.pool)]


def move(cast: Cast, user: Any, job: Job, position: Any, **headers: str) -> Any:
    sent = {"job": str(job.pk), "position": str(position)}
    return signed_in(user).post(f"/jobs/queue/{cast.pool.pk}/move", sent, **headers)  # type: ignore[arg-type]


def test_it_stands_in_the_order_in_which_jobs_are_taken(cast: Cast, jobs: list[Job]):
    page = text_of(signed_in(cast.alice), f"/jobs/queue/{cast.pool.pk}/")
    places = [page.index(job.name) for job in jobs]
    assert places == sorted(places)
    assert "draggable" not in page


def test_a_job_of_another_team_has_no_name(cast: Cast, jobs: list[Job]):
    Job.objects.filter(pk=jobs[0].pk).update(team=cast.charlie.team, owner=cast.charlie, name="secret-project")
    page = text_of(signed_in(cast.alice), f"/jobs/queue/{cast.pool.pk}/")
    assert "A job of another team" in page
    assert "secret-project" not in page
    assert "Charlie" not in page
    assert "secret-project" in text_of(signed_in(cast.ada), f"/jobs/queue/{cast.pool.pk}/")


def test_used_time_is_shown(cast: Cast, jobs: list[Job]):
    UsedTime.objects.create(user=cast.alice, seconds=7200, as_of=timezone.now() - timedelta(days=1))
    assert "1 h 00 min" in text_of(signed_in(cast.alice), f"/jobs/queue/{cast.pool.pk}/")  # halved for the day since


def test_an_empty_queue_says_so(cast: Cast):
    assert "Nothing waits" in text_of(signed_in(cast.alice), f"/jobs/queue/{cast.pool.pk}/")


def test_an_administrator_moves_a_job(cast: Cast, jobs: list[Job]):
    assert move(cast, cast.ada, jobs[2], 1).status_code == 302
    assert order(cast) == ["job-2", "job-0", "job-1"]
    assert move(cast, cast.ada, jobs[2], 2).status_code == 302
    assert order(cast) == ["job-0", "job-2", "job-1"]


def test_the_reply_to_htmx_is_the_new_order(cast: Cast, jobs: list[Job]):
    reply = move(cast, cast.ada, jobs[2], 1, HTTP_HX_REQUEST="true")
    rows = reply.content.decode()
    assert rows.lstrip().startswith('<div id="queue-rows"')
    assert rows.index("job-2") < rows.index("job-0")


@pytest.mark.parametrize("who", ["alice", "charlie"])
def test_members_are_refused(cast: Cast, jobs: list[Job], who: str):
    assert move(cast, getattr(cast, who), jobs[2], 1).status_code == 403
    assert order(cast) == ["job-0", "job-1", "job-2"]


@pytest.mark.parametrize("position", ["", "0", "-1", "x", "9" * 20])
def test_nonsense_changes_nothing(cast: Cast, jobs: list[Job], position: str):
    assert move(cast, cast.ada, jobs[2], position).status_code == 409
    assert order(cast) == ["job-0", "job-1", "job-2"]


def test_a_job_that_left_the_queue_is_told(cast: Cast, jobs: list[Job]):
    Job.objects.filter(pk=jobs[2].pk).update(status="cancelled")
    reply = move(cast, cast.ada, jobs[2], 1)
    assert "is not waiting any more" in reply.content.decode()


def test_a_stranger_signs_in_first_and_no_pool_is_not_there(cast: Cast):
    assert Client().get(f"/jobs/queue/{cast.pool.pk}/").status_code == 302
    assert signed_in(cast.ada).get("/jobs/queue/999/").status_code == 404


def test_looking_is_not_moving(cast: Cast):
    assert signed_in(cast.ada).get(f"/jobs/queue/{cast.pool.pk}/move").status_code == 405


def test_a_move_is_told_with_who_did_it(cast: Cast, jobs: list[Job]):
    move(cast, cast.ada, jobs[2], 1)
    events = text_of(signed_in(cast.alice), f"/jobs/{jobs[2].pk}/events/")
    assert "Ada moved the job to place 1 of the queue." in events
    assert "What changed on the way" not in text_of(signed_in(cast.alice), f"/jobs/{jobs[2].pk}/")  # the run is the same


def test_what_all_wait_for_is_said_once(cast: Cast, jobs: list[Job]):
    Worker.objects.update(state="draining")
    page = text_of(signed_in(cast.alice), f"/jobs/queue/{cast.pool.pk}/")
    assert page.count("All workers of pool local are draining") == 1


def test_nobody_is_moved_past_a_more_urgent_job(cast: Cast, jobs: list[Job]):
    Job.objects.filter(pk=jobs[0].pk).update(priority=30)
    page = text_of(signed_in(cast.ada), f"/jobs/queue/{cast.pool.pk}/")
    stuck = [f'id="up-{jobs[0].pk}"', f'id="down-{jobs[0].pk}"', f'id="up-{jobs[1].pk}"', f'id="down-{jobs[2].pk}"']
    assert [place for place in stuck if 'aria-disabled="true"' not in page.split(place)[1].split(">")[0]] == []
    assert 'aria-disabled="true"' not in page.split(f'id="down-{jobs[1].pk}"')[1].split(">")[0]


def test_a_longer_queue_asks_no_more_questions(cast: Cast, django_assert_max_num_queries: Any):
    for number in range(30):
        submitted(cast, name=f"job-{number}")
    client = signed_in(cast.ada)
    with django_assert_max_num_queries(30):
        client.get(f"/jobs/queue/{cast.pool.pk}/")
