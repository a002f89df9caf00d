"""POST /api/v1/datasets/fetch: the same as the pages' forms."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import chats
from tests.worker.fetching.conftest import authority, server  # noqa: F401
from tests.worker.fetching.web_server import WebServer, whole
from webapp.datasets.models import Dataset, DatasetTask, OpenHost
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task

URL = "/api/v1/datasets/fetch"


def post(client: Client, body: dict[str, Any]) -> Any:
    return client.post(URL, body, content_type="application/json")


def test_it_works(cast: Cast, client: Client, server: WebServer):  # noqa: F811
    client.force_login(cast.alice)
    OpenHost.objects.create(name=f"localhost:{server.server_port}")
    body = {"kind": "https", "address": server.url("localhost", "/chats.jsonl"), "name": "mine"}
    reply = post(client, body)
    assert reply.status_code == 202, reply.content
    made = reply.json()
    assert (made["name"], made["versions"][0]["state"]) == ("mine", "checking")
    assert made["versions"][0]["fetch"]["state"] == "waiting"
    run_task(DatasetTask.objects.get().pk, runners=RUNNERS)
    failed = client.get(f"/api/v1/datasets/{made['id']}").json()["versions"][0]
    assert (failed["state"], failed["fetch"]["state"]) == ("problems", "failed")
    assert "There is nothing at" in failed["fetch"]["problem"]
    server.pages["/chats.jsonl"] = whole(chats(3))
    assert post(client, body).json()["id"] == made["id"], "the same wish takes the failed one up"
    run_task(DatasetTask.objects.get().pk, runners=RUNNERS)
    done = client.get(f"/api/v1/datasets/{made['id']}").json()["versions"][0]
    assert (done["state"], done["rows"], done["fetch"]) == ("ready", 3, None)


def test_strangers_are_refused(db: None, client: Client):
    assert post(client, {"kind": "hub", "dataset": "a/b"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, ""),
        ({"kind": "ftp", "address": "ftp://x"}, ""),
        ({"kind": "hub"}, "dataset"),
        ({"kind": "https", "address": "https://example.org/a", "token": "x"}, "token"),
        ({"kind": "https", "address": "https://a:b@example.org/x"}, "address"),
        ({"kind": "https", "address": "http://example.org/x"}, "address"),
        ({"kind": "hub", "dataset": "no such thing"}, "dataset"),
        ({"kind": "s3", "address": "s3://bucket/key", "access_key_id": "a"}, "secret_access_key"),
    ],
)
def test_wrong_wishes(cast: Cast, client: Client, body: dict[str, str], param: str):
    client.force_login(cast.alice)
    before = Dataset.objects.count()
    reply = post(client, body)
    assert reply.status_code == 422
    assert (reply.json()["error"]["param"] or "") == param, reply.content
    assert Dataset.objects.count() == before
