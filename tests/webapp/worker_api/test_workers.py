"""The door of a worker machine: register, heartbeat, model reports. Works, a stranger is refused, bad input changes nothing."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.cast import SHAPE, WORKER_TOKEN, Cast
from webapp.catalog.models import BaseModel
from webapp.pools.models import JoinToken, Worker
from webapp.pools.services import drain_worker, new_join_token, revoke_worker
from webapp.secrets import token_hash
from worker.contract import PROTOCOL
from worker.contract.model_shape import ModelReport, ModelShape
from worker.contract.orders import GpuReport, Heartbeat, HeartbeatReply, HostReport, Registered, Registration

HOST = HostReport(cpu_count=2, memory_total_bytes=8, memory_used_bytes=4, disk_free_bytes=9)
REGISTRATION = Registration(name="gpu-1", slots=2, host=HOST)
HEARTBEAT = Heartbeat(host=HOST, versions={"torch": "2.13.0"})


def post(path: str, body: Any, *, token: str = WORKER_TOKEN) -> Any:
    text = body if isinstance(body, str | bytes) else body.model_dump_json()
    return Client(headers={"Authorization": f"Bearer {token}"}).post(
        f"/worker/v1/{path}", data=text, content_type="application/json"
    )


def code_of(answer: Any) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["message"].endswith((".", "problems)"))
    return answer.status_code, answer.json()["error"]["code"]


def model(**fields: Any) -> BaseModel:
    given = {"name": "Tiny", "source": "hub", "name_or_path": "acme/tiny", **fields}
    return BaseModel.objects.create(**given)


REPORT = ModelReport(shape=ModelShape.model_validate(SHAPE), revision="a" * 40, licence="mit")


def test_registering_works(cast: Cast, settings: Any) -> None:
    settings.WORKER_REDIS_URL = "redis://redis.example.org:6379/0"
    answer = post("register", REGISTRATION, token=new_join_token(cast.pool, by=cast.ada))
    assert answer.status_code == 201
    registered = Registered.model_validate_json(answer.content)
    worker = Worker.objects.get(pk=registered.worker_id)
    assert (worker.name, worker.slots, worker.pool) == ("gpu-1", 2, cast.pool)
    assert worker.token_hash == token_hash(registered.worker_token)
    assert (registered.pool, registered.queue, registered.name) == ("local", "pool.local", "gpu-1")
    assert registered.broker_url == "redis://redis.example.org:6379/0"
    assert post("heartbeat", HEARTBEAT, token=registered.worker_token).status_code == 200


def test_a_taken_name_gets_a_number(cast: Cast) -> None:
    answer = post("register", REGISTRATION.model_copy(update={"name": "box"}), token=new_join_token(cast.pool, by=cast.ada))
    assert answer.json()["name"] == "box-2"


@pytest.mark.parametrize("token", ["", "nbj_nonsense", WORKER_TOKEN, "ü" * 10])
def test_a_stranger_cannot_register(cast: Cast, token: str) -> None:
    answer = Client(headers={"Authorization": f"Bearer {token}".encode().decode("latin-1")}).post(
        "/worker/v1/register", data=REGISTRATION.model_dump_json(), content_type="application/json"
    )
    assert code_of(answer) == (401, "bad_token")
    assert Worker.objects.count() == 1


def test_a_token_registers_once(cast: Cast) -> None:
    token = new_join_token(cast.pool, by=cast.ada)
    post("register", REGISTRATION, token=token)
    assert code_of(post("register", REGISTRATION, token=token)) == (401, "used_token")
    assert Worker.objects.filter(name__startswith="gpu-1").count() == 1


@pytest.mark.parametrize("body", ["", "[]", "{}", "not json", b"\xff", '{"name": "", "slots": 0}', '{"name": "x", "owner": 1}'])
def test_a_bad_registration_does_not_use_the_token_up(cast: Cast, body: str | bytes) -> None:
    token = new_join_token(cast.pool, by=cast.ada)
    assert code_of(post("register", body, token=token)) == (422, "bad_message")
    assert JoinToken.objects.get().used_at is None


@pytest.mark.parametrize("path", ["register", "heartbeat"])
def test_a_newer_worker_is_told_to_upgrade_the_dashboard(cast: Cast, path: str) -> None:
    body = {"protocol": 999, "name": "x", "something_new": True, "host": HOST.model_dump(mode="json")}
    token = new_join_token(cast.pool, by=cast.ada) if path == "register" else WORKER_TOKEN
    answer = post(path, json.dumps(body), token=token)
    assert code_of(answer) == (426, "newer_worker")
    assert "Upgrade the dashboard" in answer.json()["error"]["message"]


def test_a_message_that_is_far_too_large_is_refused(cast: Cast) -> None:
    assert code_of(post("heartbeat", b"x" * 300_000)) == (413, "too_large")


def test_a_heartbeat_works(cast: Cast) -> None:
    Worker.objects.filter(pk=cast.worker.pk).update(last_seen_at=None)
    reply = HeartbeatReply.model_validate_json(post("heartbeat", HEARTBEAT).content)
    assert (reply.state, reply.inspect) == ("enabled", ())
    worker = Worker.objects.get(pk=cast.worker.pk)
    assert worker.last_seen_at is not None
    assert (worker.host["cpu_count"], worker.versions) == (2, {"torch": "2.13.0"})


def test_the_pools_policy_comes_with_the_reply(cast: Cast) -> None:
    type(cast.pool).objects.update(jobs_per_gpu=2, offline_limit_seconds=300, max_cache_bytes=5)
    gpu = GpuReport(index=0, uuid="GPU-1", name="H100", memory_total_bytes=80, memory_used_bytes=1, foreign_used_bytes=38)
    host = HOST.model_copy(update={"gpus": (gpu,)})
    policy = HeartbeatReply.model_validate_json(post("heartbeat", HEARTBEAT.model_copy(update={"host": host})).content).policy
    assert policy is not None
    assert (policy.slots, policy.offline_limit_seconds, policy.max_cache_bytes) == (2, 300, 5)
    worker = Worker.objects.get(pk=cast.worker.pk)
    assert worker.protocol == PROTOCOL
    assert worker.gpus.get().foreign_used_bytes == 38


def test_a_worker_of_protocol_1_hears_of_no_policy(cast: Cast) -> None:
    reply = post("heartbeat", HEARTBEAT.model_copy(update={"protocol": 1})).json()
    assert "policy" not in reply
    assert Worker.objects.get(pk=cast.worker.pk).protocol == 1


def test_a_draining_worker_hears_of_it(cast: Cast) -> None:
    drain_worker(cast.worker)
    assert post("heartbeat", HEARTBEAT).json()["state"] == "draining"


@pytest.mark.parametrize("path", ["heartbeat", "models/1/report"])
def test_a_stranger_and_a_revoked_worker_are_refused(cast: Cast, path: str) -> None:
    assert code_of(post(path, HEARTBEAT, token="nbw_wrong")) == (401, "unknown_worker")
    revoke_worker(cast.worker)
    assert code_of(post(path, HEARTBEAT)) == (401, "unknown_worker")


def test_a_bad_heartbeat_changes_nothing(cast: Cast) -> None:
    assert code_of(post("heartbeat", '{"host": {"cpu_count": 0}}')) == (422, "bad_message")
    assert Worker.objects.get(pk=cast.worker.pk).host == {}


def test_models_that_nobody_has_looked_at_are_named(cast: Cast) -> None:
    asked = model(hub_token="hf_secret")
    reply = HeartbeatReply.model_validate_json(post("heartbeat", HEARTBEAT).content)
    assert [(each.model_id, each.base_model.name_or_path, each.hub_token) for each in reply.inspect] == [
        (asked.pk, "acme/tiny", "hf_secret")
    ]
    drain_worker(cast.worker)
    assert HeartbeatReply.model_validate_json(post("heartbeat", HEARTBEAT).content).inspect == ()


def test_a_folder_that_one_worker_lacks_is_asked_of_the_others(cast: Cast) -> None:
    folder = model(source="folder", name_or_path="/models/x")
    assert post(f"models/{folder.pk}/report", ModelReport(problem="There is no folder /models/x.")).status_code == 204
    folder.refresh_from_db()
    assert (folder.state, folder.problem) == ("broken", "box: There is no folder /models/x.")
    reply = HeartbeatReply.model_validate_json(post("heartbeat", HEARTBEAT).content)
    assert [each.model_id for each in reply.inspect] == [folder.pk]
    post(f"models/{folder.pk}/report", REPORT)
    folder.refresh_from_db()
    assert (folder.state, folder.problem) == ("ready", "")


def test_a_report_works(cast: Cast) -> None:
    asked = model()
    assert post(f"models/{asked.pk}/report", REPORT).status_code == 204
    asked.refresh_from_db()
    assert (asked.state, asked.revision, asked.licence) == ("ready", "a" * 40, "mit")
    assert asked.shape == SHAPE


def test_a_report_on_a_model_that_is_gone_is_refused(cast: Cast) -> None:
    assert code_of(post("models/999/report", REPORT)) == (404, "no_model")


def test_a_bad_report_changes_nothing(cast: Cast) -> None:
    asked = model()
    assert code_of(post(f"models/{asked.pk}/report", '{"shape": {"hidden_size": 1}}')) == (422, "bad_message")
    asked.refresh_from_db()
    assert asked.state == "checking"


@pytest.mark.parametrize("path", ["register", "heartbeat", "models/1/report"])
def test_only_post_is_answered(db: None, path: str) -> None:
    assert code_of(Client().get(f"/worker/v1/{path}")) == (405, "wrong_method")
