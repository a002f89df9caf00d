"""The door of tokenizers: file by file, kept whole or not at all, asked for again of workers that can send them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import SHAPE, WORKER_TOKEN, Cast
from webapp.catalog.models import BaseModel
from webapp.catalog.services import look_again
from webapp.catalog.tokenizers import folder_of
from webapp.pools.models import Worker
from webapp.pools.services import revoke_worker
from webapp.secrets import token_hash
from worker.contract.model_shape import ModelReport, ModelShape
from worker.contract.orders import Heartbeat, HeartbeatReply, HostReport
from worker.contract.tokenizer_files import LARGEST_BYTES, TokenizerFile, tokenizer_hash

FILES = {"tokenizer.json": b'{"model": {}}', "tokenizer_config.json": b"{}"}
HOST = HostReport(cpu_count=2, memory_total_bytes=8, memory_used_bytes=4, disk_free_bytes=9)
LOOKED = ModelReport(shape=ModelShape.model_validate(SHAPE), revision="a" * 40)


@pytest.fixture
def model(cast: Cast) -> BaseModel:
    return BaseModel.objects.create(name="Tiny", source="folder", name_or_path="/models/tiny")


def put(model_id: int, name: str, content: bytes, *, sha256: str = "", token: str = WORKER_TOKEN) -> Any:
    address = f"/worker/v1/models/{model_id}/tokenizer/{name}?sha256={sha256 or hashlib.sha256(content).hexdigest()}"
    return Client(headers={"Authorization": f"Bearer {token}"}).put(address, content, content_type="application/octet-stream")


def post(path: str, body: Any, *, token: str = WORKER_TOKEN) -> Any:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    return client.post(f"/worker/v1/{path}", data=body.model_dump_json(), content_type="application/json")


def named(files: dict[str, bytes]) -> tuple[TokenizerFile, ...]:
    return tuple(
        TokenizerFile.model_validate({"name": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
        for name, content in files.items()
    )


def send(model_id: int, files: dict[str, bytes] = FILES, *, token: str = WORKER_TOKEN) -> Any:
    for name, content in files.items():
        assert put(model_id, name, content, token=token).status_code == 201
    return post(f"models/{model_id}/report", LOOKED.model_copy(update={"tokenizer": named(files)}), token=token)


def asked_of(token: str = WORKER_TOKEN, *, protocol: int = 4) -> list[int]:
    answer = post("heartbeat", Heartbeat(host=HOST, protocol=protocol), token=token)
    return [each.model_id for each in HeartbeatReply.model_validate_json(answer.content).inspect]


def kept(model: BaseModel) -> dict[str, bytes]:
    model.refresh_from_db()
    folder = folder_of(model)
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder else {}


def test_it_works(model: BaseModel, settings: Any) -> None:
    assert folder_of(model) is None
    assert send(model.pk).status_code == 204
    assert kept(model) == FILES
    assert model.tokenizer_sha256 == tokenizer_hash(named(FILES)) == tokenizer_hash(named(FILES)[::-1])
    assert (model.state, model.tokenizer_problem) == ("ready", "")
    assert list(Path(settings.INCOMING_DIR).iterdir()) == []


def test_equal_files_lie_there_once(model: BaseModel, settings: Any) -> None:
    other = BaseModel.objects.create(name="Twin", source="folder", name_or_path="/models/twin")
    assert {send(model.pk).status_code, send(other.pk).status_code} == {204}
    assert kept(other) == FILES
    assert len(list(Path(settings.TOKENIZERS_DIR).iterdir())) == 1
    assert list(Path(settings.INCOMING_DIR).iterdir()) == []


def test_what_did_not_arrive_whole_is_not_kept(model: BaseModel) -> None:
    put(model.pk, "tokenizer.json", FILES["tokenizer.json"])
    report = LOOKED.model_copy(update={"tokenizer": named(FILES)})
    answer = post(f"models/{model.pk}/report", report)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "file_missing")
    assert kept(model) == {}
    assert model.state == "checking"
    assert send(model.pk).status_code == 204
    assert kept(model) == FILES


def test_what_an_earlier_look_left_is_not_mixed_in(model: BaseModel) -> None:
    put(model.pk, "chat_template.jinja", b"{{ old }}")
    send(model.pk)
    assert kept(model) == FILES


def test_a_wrong_hash_is_refused(model: BaseModel) -> None:
    answer = put(model.pk, "tokenizer.json", b"{}", sha256="0" * 64)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_hash")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "..", ".part", "tokenizer.model", "tokenizer.json%00", "..%2Ftokenizer.json"]
)
def test_another_file_is_refused(model: BaseModel, settings: Any, name: str) -> None:
    assert put(model.pk, name, b"x").status_code in (404, 422)
    assert list(Path(settings.INCOMING_DIR).iterdir()) == []


def test_a_file_above_the_limit_is_refused(model: BaseModel) -> None:
    answer = put(model.pk, "tokenizer.json", bytes(LARGEST_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["message"]) == (413, "tokenizer.json is larger than 64 MiB.")


def test_a_stranger_is_refused(model: BaseModel, cast: Cast) -> None:
    assert put(model.pk, "tokenizer.json", b"{}", token="nbw_wrong").status_code == 401
    revoke_worker(cast.worker)
    assert put(model.pk, "tokenizer.json", b"{}").status_code == 401


def test_a_model_that_is_gone_is_refused(cast: Cast) -> None:
    assert put(999, "tokenizer.json", b"{}").json()["error"]["code"] == "no_model"


def test_models_seen_before_are_asked_for_again_by_workers_that_can_send(model: BaseModel) -> None:
    assert asked_of(protocol=3) == [model.pk]
    assert post(f"models/{model.pk}/report", LOOKED).status_code == 204  # an older worker's
    assert asked_of(protocol=3) == []
    assert asked_of() == [model.pk]
    send(model.pk)
    assert asked_of() == []


def test_a_worker_that_has_none_is_asked_once_and_others_too(model: BaseModel, cast: Cast) -> None:
    Worker.objects.create(pool=cast.pool, name="other", token_hash=token_hash("nbw_other"))
    without = LOOKED.model_copy(update={"tokenizer_problem": "The model has no fast tokenizer."})
    post(f"models/{model.pk}/report", without)
    model.refresh_from_db()
    assert (model.state, model.tokenizer_problem) == ("ready", "The model has no fast tokenizer.")
    assert (asked_of(), asked_of("nbw_other")) == ([], [model.pk])
    post(f"models/{model.pk}/report", ModelReport(problem="There is no folder /models/tiny on this worker."), token="nbw_other")
    assert asked_of("nbw_other") == []
    look_again(model)
    assert asked_of() == [model.pk]
    send(model.pk)
    post(f"models/{model.pk}/report", without, token="nbw_other")
    assert kept(model) == FILES
    assert model.tokenizer_problem == ""


def test_a_report_with_two_hundred_files_is_refused(model: BaseModel) -> None:
    report = json.loads(LOOKED.model_copy(update={"tokenizer": named(FILES) * 100}).model_dump_json())
    client = Client(headers={"Authorization": f"Bearer {WORKER_TOKEN}"})
    answer = client.post(f"/worker/v1/models/{model.pk}/report", data=json.dumps(report), content_type="application/json")
    assert answer.status_code == 422
