"""The jobs of the public API: submitted, read, followed and cancelled; strangers see nothing; each wrong field is named."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.services import submit_job
from worker.contract.model_shape import BaseModelRef
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

JSON = "application/json"


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def body(cast: Cast, **changes: Any) -> dict[str, Any]:
    blocks = {"training": {"max_steps": 3, "max_length": 128}, "lora": {"r": 4}}
    named = {"name": "First", "pool": "local", "base_model": cast.base_model.pk, "dataset_version": cast.version.pk}
    return {**named, **blocks, **changes}


def job_of(cast: Cast, user: str = "alice") -> Job:
    reference = BaseModelRef(kind="example", name_or_path="smollm2-135m-instruct")
    spec = FinetuneSpec(base_model=reference, training=Training(max_steps=3))
    return submit_job(
        user=getattr(cast, user),
        name="Mine",
        pool=cast.pool,
        base_model=cast.base_model,
        dataset_version=cast.version,
        spec=spec,
    )


def test_it_submits_what_was_said(cast: Cast, alice: Client) -> None:
    response = alice.post("/api/v1/jobs", body(cast), content_type=JSON)
    assert response.status_code == 201, response.content
    read = alice.get(f"/api/v1/jobs/{response.json()['id']}").json()
    assert (read["status"], read["pool"], read["owner"]) == ("queued", "local", "Alice")
    assert read["spec"]["lora"]["r"] == 4
    assert read["spec"]["base_model"] == {"kind": "example", "name_or_path": "smollm2-135m-instruct", "revision": None}
    assert read["waiting_for"]


def test_a_program_of_before_there_were_objectives_still_submits(cast: Cast, alice: Client) -> None:
    response = alice.post("/api/v1/jobs", body(cast, kind="sft"), content_type=JSON)
    assert (response.status_code, response.json()["spec"]["objective"]["kind"]) == (201, "sft")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"lora": {"r": 0}}, "lora.r"),
        ({"lora": {"target_modules": ["nothing_like_it"]}}, "lora.target_modules"),
        ({"lora": {"target_modules": []}}, "lora.target_modules"),
        ({"optimizer": {"learning_rate": "abc"}}, "optimizer.learning_rate"),
        ({"training": {}}, "training"),
        ({"training": {"max_steps": 1, "max_length": 100_000}}, "training.max_length"),
        ({"quantization": {"kind": "bitsandbytes_4bit", "bnb_4bit_quant_type": "int3"}}, "quantization.bnb_4bit_quant_type"),
        ({"quantization": {"kind": "gptq"}}, "quantization"),
        ({"quantization": {"kind": "bitsandbytes_8bit", "llm_int8_threshold": -1}}, "quantization.llm_int8_threshold"),
        ({"objective": {"kind": "dpo", "beta": -1}}, "objective.beta"),
        ({"name": " "}, "name"),
        ({"pool": "mars"}, "pool"),
        ({"base_model": 999}, "base_model"),
        ({"base_model": 10**30}, "base_model"),
        ({"dataset_version": 999}, "dataset_version"),
        ({"priority": 99}, "priority"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_each_wrong_field_is_named(cast: Cast, alice: Client, changes: dict[str, Any], param: str) -> None:
    response = alice.post("/api/v1/jobs", body(cast, **changes), content_type=JSON)
    assert response.status_code == 422, response.content
    assert response.json()["error"]["param"] == param
    assert response.json()["error"]["message"]
    assert not Job.objects.exists()


def test_what_is_not_json_is_refused(cast: Cast, alice: Client) -> None:
    response = alice.post("/api/v1/jobs", "{", content_type=JSON)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"


def test_another_teams_dataset_is_not_there(cast: Cast, client: Client) -> None:
    client.force_login(cast.charlie)
    response = client.post("/api/v1/jobs", body(cast), content_type=JSON)
    assert (response.status_code, response.json()["error"]["param"]) == (422, "dataset_version")


def test_a_stranger_gets_a_401_and_no_page(cast: Cast, client: Client) -> None:
    job = job_of(cast)
    for address in ("/api/v1/jobs", f"/api/v1/jobs/{job.pk}", f"/api/v1/jobs/{job.pk}/events", "/api/v1/me"):
        response = client.get(address)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "not_signed_in"), address
    assert client.post("/api/v1/jobs", body(cast), content_type=JSON).status_code == 401
    assert client.get("/api/v1/openapi.json").status_code == 302


def test_another_teams_job_is_not_there(cast: Cast, client: Client) -> None:
    job = job_of(cast)
    client.force_login(cast.charlie)
    missing = client.get("/api/v1/jobs/999999")
    for response in (
        client.get(f"/api/v1/jobs/{job.pk}"),
        client.get(f"/api/v1/jobs/{job.pk}/events"),
        client.post(f"/api/v1/jobs/{job.pk}/cancel", {"save": True}, content_type=JSON),
        client.get("/api/v1/jobs/99999999999999999999999"),
    ):
        assert (response.status_code, response.content) == (404, missing.content)
    assert client.get("/api/v1/jobs").json()["data"] == []


def test_writes_need_the_csrf_token(cast: Cast) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.alice)
    response = strict.post("/api/v1/jobs", body(cast), content_type=JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "csrf")


def test_events_continue_after_the_cursor(cast: Cast, alice: Client) -> None:
    job = job_of(cast)
    assert alice.post(f"/api/v1/jobs/{job.pk}/cancel", {"save": False}, content_type=JSON).status_code == 200
    first = alice.get(f"/api/v1/jobs/{job.pk}/events?limit=1").json()
    rest = alice.get(f"/api/v1/jobs/{job.pk}/events?after=1").json()
    assert [event["cursor"] for event in first["data"] + rest["data"]] == [1, 2]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert alice.get(f"/api/v1/jobs/{job.pk}/events?after=-1").status_code == 422


def test_cancelling_ends_a_waiting_job_once(cast: Cast, alice: Client) -> None:
    job = job_of(cast)
    done = alice.post(f"/api/v1/jobs/{job.pk}/cancel", {"save": True}, content_type=JSON)
    again = alice.post(f"/api/v1/jobs/{job.pk}/cancel", {"save": True}, content_type=JSON)
    assert (done.json()["status"], again.status_code) == (JobStatus.CANCELLED, 409)
    assert "already ended" in again.json()["error"]["message"]


def test_a_team_mate_looks_and_does_not_cancel(cast: Cast, client: Client) -> None:
    job = job_of(cast)
    client.force_login(cast.bob)
    assert client.get(f"/api/v1/jobs/{job.pk}").status_code == 200
    assert client.post(f"/api/v1/jobs/{job.pk}/cancel", {"save": True}, content_type=JSON).status_code == 403


def test_pages_of_the_list_meet(cast: Cast, alice: Client) -> None:
    jobs = [job_of(cast).pk for _ in range(3)]
    first = alice.get("/api/v1/jobs?limit=2").json()
    second = alice.get(f"/api/v1/jobs?limit=2&before={first['data'][-1]['id']}").json()
    assert [job["id"] for job in first["data"] + second["data"]] == jobs[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b'{"name": "' + b"x" * 3_000_000 + b'"}', 413),
        (b'{"name": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"name": NaN}', 422),
    ],
    ids=["large", "not UTF-8", "deep", "empty", "a list", "null", "NaN"],
)
def test_odd_bodies_are_refused_and_nothing_breaks(alice: Client, text: bytes, status: int) -> None:
    response = alice.post("/api/v1/jobs", text, content_type=JSON)
    assert response.status_code == status, response.content[:300]
    assert response.json()["error"]["message"]
    assert not Job.objects.exists()


def test_text_that_no_database_takes_is_refused(cast: Cast, alice: Client) -> None:
    for name in ("a\x00b", "\ud800", "x" * 101):
        response = alice.post("/api/v1/jobs", json.dumps(body(cast, name=name)), content_type=JSON)
        assert (response.status_code, response.json()["error"]["param"]) == (422, "name"), name
