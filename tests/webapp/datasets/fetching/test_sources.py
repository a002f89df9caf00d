"""Datasets of the Hub and objects of S3, with real servers."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.seaweed import ACCESS_KEY, SECRET_KEY, SeaweedServer, put
from tests.servers import running
from tests.webapp.datasets.fetching.fetches import ask, run
from tests.webapp.datasets.files import chats
from tests.worker.fetching.hub_server import COMMIT, TOKEN, put_dataset
from tests.worker.fetching.web_server import WebServer
from webapp.datasets.models import DatasetTask, FetchSecret, OpenHost

pytestmark = pytest.mark.postgres


def test_a_hub_dataset_with_the_users_token(alice: Client, cast: Cast, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    put_dataset(opened, "team/chats", {"train.jsonl": chats(6), "test.jsonl": chats(2)}, gated=True)
    version = ask(alice, "hub", dataset="https://huggingface.co/datasets/team/chats")
    task = run(version)
    assert "accept its conditions" in task.problem
    stored = alice.post("/account/hub-token/", {"hub_token": TOKEN})
    assert stored.status_code == 302
    assert TOKEN not in alice.get("/account/").content.decode()
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/chats"})
    assert run(version).problem == ""
    version.refresh_from_db()
    assert version.recipe["commit"] == COMMIT
    assert [(file.name, file.split) for file in version.files.all()] == [("train.jsonl", "train"), ("test.jsonl", "test")]
    assert (version.state, version.rows) == ("ready", 8)


def test_a_hub_dataset_with_several_parts_asks_which(alice: Client, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    card = {"configs": [{"config_name": name, "data_files": f"{name}.jsonl"} for name in ("en", "de")]}
    put_dataset(opened, "team/chats", {"en.jsonl": chats(3), "de.jsonl": chats(4)}, card=card)
    version = ask(alice, "hub", dataset="team/chats")
    assert "Name the configuration: en, de." in run(version).problem
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/chats", "config": "de"})
    run(version)
    version.refresh_from_db()
    assert version.rows == 4


def test_an_object_of_s3(alice: Client, cast: Cast, tmp_path: Path):
    folder = tmp_path / "seaweed"
    folder.mkdir()
    store = SeaweedServer(folder)
    with running(store):
        put(store, "data")
        put(store, "data/chats.jsonl", chats(4))
        OpenHost.objects.create(name=f"127.0.0.1:{store.port}")
        fields = {"address": "s3://data/chats.jsonl", "endpoint": store.url, "access_key_id": ACCESS_KEY}
        version = ask(alice, "s3", secret_access_key="wrong", **fields)
        task = run(version)
        assert "The secret key does not belong to the access key." in task.problem
        assert not FetchSecret.objects.exists()
        page = alice.get(f"/datasets/{version.dataset_id}/").content.decode()
        assert "wrong" not in page.split("<main")[1].replace("field wrong", "")
        alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"secret_access_key": SECRET_KEY, **fields})
        assert run(version).problem == ""
    version.refresh_from_db()
    assert (version.state, version.rows) == ("ready", 4)
    assert SECRET_KEY not in json.dumps([version.recipe, *DatasetTask.objects.values_list("params", "result")])
