"""The same Idempotency-Key again is the same job; with another body it is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from tests.cast import Cast, meet_the_cast
from tests.webapp.api.test_jobs import JSON, body
from webapp.jobs.models import Job


def submit(client: Client, wanted: dict[str, Any], key: str) -> Any:
    return client.post("/api/v1/jobs", json.dumps(wanted), content_type=JSON, headers={"Idempotency-Key": key})


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def test_the_same_key_is_the_same_job(cast: Cast, alice: Client):
    first, second = (submit(alice, body(cast), "k-1") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert ("Idempotent-Replayed" in first.headers, second.headers.get("Idempotent-Replayed")) == (False, "true")
    assert Job.objects.count() == 1


def test_other_keys_and_no_key_are_other_jobs(cast: Cast, alice: Client):
    for key in ("k-1", "k-2", "", ""):
        assert submit(alice, body(cast), key).status_code == 201
    assert Job.objects.count() == 4


def test_keys_are_of_their_user(cast: Cast, alice: Client, client: Client):
    submit(alice, body(cast), "k-1")
    client.force_login(cast.bob)
    answer = submit(client, body(cast), "k-1")
    assert (answer.json()["owner"], Job.objects.count()) == ("Bob", 2)


def test_another_body_is_refused(cast: Cast, alice: Client):
    submit(alice, body(cast), "k-1")
    answer = submit(alice, body(cast, name="Second"), "k-1")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "idempotency_key_reused", "Idempotency-Key")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("key", ["x" * 201, "ä", "a\tb"])
def test_an_odd_key_is_refused(cast: Cast, alice: Client, key: str):
    answer = submit(alice, body(cast), key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert not Job.objects.exists()


def test_a_refused_request_uses_no_key_up(cast: Cast, alice: Client):
    assert submit(alice, body(cast, name=" "), "k-1").status_code == 422
    assert submit(alice, body(cast), "k-1").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_many_at_once_make_one_job():
    cast = meet_the_cast()

    def one(_: int) -> tuple[int, int, bool]:
        client = Client()
        client.force_login(cast.alice)
        try:
            answer = submit(client, body(cast), "k-1")
            return answer.status_code, answer.json()["id"], "Idempotent-Replayed" in answer.headers
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(one, range(24)))
    assert {status for status, _, _ in answers} == {201}
    assert len({pk for _, pk, _ in answers}) == 1
    assert [replayed for _, _, replayed in answers].count(False) == 1
    assert Job.objects.count() == 1
