"""Cancel, pause, resume, retry and priority through the API: the owner may, a team-mate is refused, to a stranger nothing is there."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_finish import Publisher
from tests.webapp.jobs.work import able_to_pause, checkpointed, claimed, failed, kept, submitted
from webapp.jobs.finish import finish_attempt
from webapp.jobs.models import Attempt, Job, JobStatus, Priority

JSON = "application/json"
WISHES: dict[str, dict[str, Any]] = {
    "cancel": {"save": True},
    "pause": {},
    "resume": {},
    "retry": {"from_checkpoint": False},
    "priority": {"priority": Priority.LOW},
}


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def ask(client: Client, job: Job, what: str, wish: dict[str, Any] | None = None) -> Any:
    return client.post(f"/api/v1/jobs/{job.pk}/{what}", WISHES[what] if wish is None else wish, content_type=JSON)


def held(cast: Cast) -> tuple[Job, Attempt]:
    able_to_pause(cast)
    return claimed(cast)


def test_pause_and_resume(cast: Cast, alice: Client):
    job, attempt = held(cast)
    assert (ask(alice, job, "pause").json()["status"], ask(alice, job, "pause").status_code) == ("pausing", 409)
    finish_attempt(attempt, checkpointed(attempt), publish=Publisher())
    assert ask(alice, job, "resume").json()["status"] == "queued"
    again = ask(alice, job, "resume")
    assert (again.status_code, again.json()["error"]["message"]) == (409, "The job is queued.")


def test_retry_from_the_checkpoint(cast: Cast, alice: Client):
    job, attempt = held(cast)
    assert ask(alice, job, "retry").status_code == 409
    kept(attempt, step=2)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    made = ask(alice, job, "retry", {})
    assert made.status_code == 201
    retry = Job.objects.get(pk=made.json()["id"])
    assert retry.cloned_from == job
    assert retry.starts_from is not None
    assert retry.starts_from.step == 2


def test_priority(cast: Cast, alice: Client, client: Client):
    job = submitted(cast)
    assert ask(alice, job, "priority").json()["priority"] == Priority.LOW
    refused = ask(alice, job, "priority", {"priority": Priority.HIGH})
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "priority")
    client.force_login(cast.ada)
    assert ask(client, job, "priority", {"priority": Priority.URGENT}).json()["priority"] == Priority.URGENT


@pytest.mark.parametrize("what", sorted(WISHES))
def test_who_may_not(cast: Cast, client: Client, what: str):
    job, _ = held(cast)
    before = list(Job.objects.values())
    assert ask(client, job, what).status_code == 401
    client.force_login(cast.bob)
    answer = ask(client, job, what)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    client.force_login(cast.charlie)
    missing = client.get("/api/v1/jobs/999999")
    answer = ask(client, job, what)
    assert (answer.status_code, answer.content) == (404, missing.content)
    assert list(Job.objects.values()) == before


@pytest.mark.parametrize(
    ("what", "wish"),
    [
        ("priority", {"priority": 99}),
        ("priority", {}),
        ("retry", {"from_checkpoint": "maybe"}),
        ("cancel", {}),
        ("cancel", {"save": True, "x": 1}),
    ],
)
def test_a_bad_wish_names_its_field(cast: Cast, alice: Client, what: str, wish: dict[str, Any]):
    job = submitted(cast)
    answer = ask(alice, job, what, wish)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] in {"priority", "from_checkpoint", "save", "x"}
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED
