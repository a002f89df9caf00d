"""POST /api/v1/jobs/pair: two jobs or none, and the same key is the same pair."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.api.test_jobs import JSON, body
from webapp.jobs.models import Job


def submit(client: Client, wanted: dict[str, Any], *, to: str = "/api/v1/jobs/pair", key: str = "") -> Any:
    return client.post(to, json.dumps(wanted), content_type=JSON, headers={"Idempotency-Key": key})


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def test_it_makes_both(cast: Cast, alice: Client):
    answer = submit(alice, body(cast))
    made = answer.json()
    assert answer.status_code == 201
    assert (made["lora"]["spec"]["quantization"]["kind"], made["qlora"]["spec"]["quantization"]["kind"]) == (
        "none",
        "bitsandbytes_4bit",
    )
    assert (made["lora"]["paired_with"], made["qlora"]["paired_with"]) == (None, made["lora"]["id"])


def test_the_same_key_is_the_same_pair(cast: Cast, alice: Client):
    first, second = (submit(alice, body(cast), key="k") for _ in range(2))
    assert first.json() == second.json()
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert Job.objects.count() == 2


def test_a_key_of_a_single_job_is_not_a_pairs(cast: Cast, alice: Client):
    submit(alice, body(cast), to="/api/v1/jobs", key="k")
    answer = submit(alice, body(cast), key="k")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_bad_input_makes_none(cast: Cast, alice: Client):
    full = body(cast, finetuning_type="full", quantization={"kind": "none"})
    answer = submit(alice, full)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "finetuning_type")
    assert submit(alice, body(cast, name=" ")).status_code == 422
    assert not Job.objects.exists()


def test_a_stranger_is_refused(cast: Cast, client: Client):
    assert submit(client, body(cast)).status_code == 401
    client.force_login(cast.charlie)
    assert submit(client, body(cast)).json()["error"]["param"] == "dataset_version"
    assert not Job.objects.exists()
