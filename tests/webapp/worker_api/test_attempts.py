"""The door of a running attempt: works, a stranger is refused, bad input leaves nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import WORKER_TOKEN, Cast
from tests.webapp.jobs.work import RESULTS, batch, claimed, log, submitted
from webapp.adapters.models import Adapter
from webapp.jobs.finish import incoming_folder
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Job, JobEvent, JobStatus
from webapp.pools.models import Worker
from webapp.secrets import token_hash
from worker.contract.orders import ArtifactFile, Finish, Succeeded, WorkOrder

BYTES = b"not really safetensors"
SHA = hashlib.sha256(BYTES).hexdigest()


class Knock:
    """A worker at the door."""

    def __init__(self, token: str = WORKER_TOKEN) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"})

    def post(self, path: str, body: Any) -> Any:
        text = body if isinstance(body, str | bytes) else body.model_dump_json()
        return self.client.post(f"/worker/v1/{path}", data=text, content_type="application/json")

    def put(self, path: str, body: bytes) -> Any:
        return self.client.put(f"/worker/v1/{path}", data=body, content_type="application/octet-stream")

    def get(self, path: str) -> Any:
        return self.client.get(f"/worker/v1/{path}")


@pytest.fixture
def door() -> Knock:
    return Knock()


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


CLAIM = '{"slot": 0, "free_memory_bytes": 8000000000}'


def test_claim_works(cast: Cast, door: Knock):
    job = submitted(cast)
    order = WorkOrder.model_validate_json(door.post("claim", CLAIM).content)
    assert order.job_id == job.pk


def test_nothing_to_do_is_204(cast: Cast, door: Knock):
    assert door.post("claim", CLAIM).status_code == 204


@pytest.mark.parametrize("token", ["", "wrong", "nbw_" + "x" * 5000])
def test_a_stranger_is_refused(cast: Cast, token: str):
    job = submitted(cast)
    assert code_of(Knock(token).post("claim", CLAIM)) == (401, "unknown_worker")
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_a_revoked_worker_is_refused(cast: Cast, door: Knock):
    Worker.objects.update(state=Worker.State.REVOKED)
    assert code_of(door.post("claim", CLAIM)) == (401, "unknown_worker")


def test_a_signed_in_user_is_no_worker(cast: Cast):
    client = Client()
    client.force_login(cast.ada)
    assert client.post("/worker/v1/claim", data=CLAIM, content_type="application/json").status_code == 401


def test_a_newer_worker_is_told_to_wait_for_an_upgrade(cast: Cast, door: Knock):
    assert code_of(door.post("claim", '{"protocol": 999, "free_memory_bytes": 8000000000}')) == (426, "newer_worker")


def test_a_worker_that_is_too_old_is_told_to_be_updated(cast: Cast, door: Knock):
    submitted(cast)
    assert code_of(door.post("claim", '{"protocol": 0, "free_memory_bytes": 1}')) == (426, "older_worker")


def test_an_older_worker_gets_no_field_that_it_does_not_know(cast: Cast, door: Knock):
    golden = json.loads((Path(__file__).parents[2] / "worker/contract/golden/0.1.0/WorkOrder.json").read_text())
    submitted(cast)
    order = door.post("claim", '{"protocol": 1, "free_memory_bytes": 8000000000}').json()
    assert order["protocol"] == 1
    assert order.keys() <= golden.keys() | {"slots"}  # which 0.1.0 knew, and left out when it was one
    assert order["spec"].keys() <= golden["spec"].keys()


def test_a_worker_of_today_gets_the_plan(cast: Cast, door: Knock):
    submitted(cast)
    plan = door.post("claim", CLAIM).json()["spec"]["plan"]
    assert plan == {"execution": "auto", "keep_unpacked": True, "num_processes": 1, "fsdp": False}


@pytest.mark.parametrize(("protocol", "known"), [(2, {"execution"}), (3, {"execution", "num_processes", "fsdp"})])
def test_a_worker_of_before_gets_the_part_of_the_plan_that_it_knows(cast: Cast, door: Knock, protocol: int, known: set[str]):
    submitted(cast)
    order = door.post("claim", f'{{"protocol": {protocol}, "free_memory_bytes": 8000000000}}').json()
    assert order["spec"]["plan"].keys() == known


def test_no_job_starts_while_the_dashboards_disk_is_short(cast: Cast, door: Knock, settings: Any):
    job = submitted(cast)
    settings.MIN_FREE_BYTES = 2**62
    assert door.post("claim", CLAIM).status_code == 204
    settings.MIN_FREE_BYTES = 0
    assert door.post("claim", CLAIM).json()["job_id"] == job.pk


@pytest.mark.parametrize(
    "body", ["", "not json", "[]", '{"slot": -1, "free_memory_bytes": 8000000000}', '{"free_memory_bytes": 1, "owner": 1}', "\x00"]
)
def test_a_bad_claim_names_the_field_and_takes_nothing(cast: Cast, door: Knock, body: str):
    job = submitted(cast)
    assert code_of(door.post("claim", body)) == (422, "bad_message")
    assert Job.objects.get(pk=job.pk).status == JobStatus.QUEUED


def test_events_work(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    answer = door.post(f"attempts/{attempt.pk}/events", batch(attempt, log("hello")))
    assert answer.json() == {"order": "continue", "acked_seq": 1}


@pytest.mark.parametrize(
    "body", ["{", '{"fence": 1}', '{"fence": 1, "first_seq": 0}', '{"fence": 1, "first_seq": 1, "events": [{"kind": "bomb"}]}']
)
def test_a_bad_batch_stores_nothing(cast: Cast, door: Knock, body: str):
    _, attempt = claimed(cast)
    assert code_of(door.post(f"attempts/{attempt.pk}/events", body)) == (422, "bad_message")
    assert not JobEvent.objects.filter(attempt=attempt, seq__isnull=False).exists()


def test_a_loss_that_is_no_number_is_refused(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    event = '{"kind": "metrics", "at": "2026-01-01T00:00:00Z", "step": 1, "epoch": 1, "loss": NaN}'
    body = f'{{"fence": {attempt.fence}, "first_seq": 1, "events": [{event}]}}'
    assert code_of(door.post(f"attempts/{attempt.pk}/events", body)) == (422, "bad_message")


def test_a_wrong_fence_is_stale(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    attempt.fence += 1
    assert code_of(door.post(f"attempts/{attempt.pk}/events", batch(attempt, log("x")))) == (409, "stale_attempt")


def test_another_worker_does_not_know_the_attempt(cast: Cast):
    _, attempt = claimed(cast)
    Worker.objects.create(pool=cast.pool, name="other", token_hash=token_hash("nbw_other"))
    assert code_of(Knock("nbw_other").post(f"attempts/{attempt.pk}/events", batch(attempt, log("x")))) == (404, "no_attempt")
    assert code_of(Knock("nbw_other").get(f"attempts/{attempt.pk}/dataset?fence=1")) == (404, "no_attempt")


def test_the_dataset_is_sent_as_a_file(cast: Cast, door: Knock):
    job, attempt = claimed(cast)
    path = job.dataset_version.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}\n")
    answer = door.get(f"attempts/{attempt.pk}/dataset?fence={attempt.fence}")
    assert (answer.status_code, answer.headers["x-nibble-send-file"]) == (200, str(path))


def test_the_dataset_is_not_for_a_stale_attempt(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    lose_attempt(attempt, why="Gone.")
    assert code_of(door.get(f"attempts/{attempt.pk}/dataset?fence={attempt.fence}")) == (409, "stale_attempt")


def uploads(attempt: Attempt) -> list[str]:
    folder = incoming_folder(attempt)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def upload(door: Knock, attempt: Attempt, *, name: str = "adapter_model.safetensors", sha: str = SHA, body: bytes = BYTES) -> Any:
    return door.put(f"attempts/{attempt.pk}/files/{name}?fence={attempt.fence}&sha256={sha}", body)


def test_a_file_arrives_whole(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    assert upload(door, attempt).status_code == 201
    assert (incoming_folder(attempt) / "adapter_model.safetensors").read_bytes() == BYTES


def test_a_file_with_another_hash_leaves_nothing(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    assert code_of(upload(door, attempt, body=b"torn")) == (422, "wrong_hash")
    assert uploads(attempt) == []


@pytest.mark.parametrize("name", ["..", ".hidden", "a%00b", "x" * 200, "a b", "%2e%2e%2fetc"])
def test_a_name_that_is_no_plain_name_is_refused(cast: Cast, door: Knock, name: str):
    _, attempt = claimed(cast)
    assert upload(door, attempt, name=name).status_code in (404, 422)
    assert uploads(attempt) == []


def test_finish_publishes_what_was_uploaded(cast: Cast, door: Knock):
    job, attempt = claimed(cast)
    upload(door, attempt)
    file = ArtifactFile(name="adapter_model.safetensors", size_bytes=len(BYTES), sha256=SHA)
    end = Finish(fence=attempt.fence, last_seq=0, end=Succeeded(outcome="finished", results=RESULTS, files=(file,)))
    assert door.post(f"attempts/{attempt.pk}/finish", end).status_code == 200
    assert door.post(f"attempts/{attempt.pk}/finish", end).status_code == 200  # a lost reply
    adapter = Adapter.objects.get(job=job)
    assert (Path(adapter.folder) / file.name).read_bytes() == BYTES
    assert Job.objects.get(pk=job.pk).status == JobStatus.SUCCEEDED


def test_finish_without_the_file_publishes_nothing(cast: Cast, door: Knock):
    job, attempt = claimed(cast)
    file = ArtifactFile(name="adapter_model.safetensors", size_bytes=len(BYTES), sha256=SHA)
    end = Finish(fence=attempt.fence, last_seq=0, end=Succeeded(outcome="finished", results=RESULTS, files=(file,)))
    assert code_of(door.post(f"attempts/{attempt.pk}/finish", end)) == (409, "bad_file")
    assert not Adapter.objects.exists()
    assert Job.objects.get(pk=job.pk).status == JobStatus.STARTING


def test_the_wrong_method_is_said(cast: Cast, door: Knock):
    assert code_of(door.get("claim")) == (405, "wrong_method")


def test_the_token_of_a_gated_model_travels_only_in_the_order(cast: Cast, door: Knock):
    cast.base_model.hub_token = "hf_canary"
    cast.base_model.save()
    job = submitted(cast)
    order = json.loads(door.post("claim", CLAIM).content)
    assert order["hub_token"] == "hf_canary"
    job.refresh_from_db()
    assert "hf_canary" not in json.dumps(job.spec)
