"""Keys and tokens of a fetch: encrypted, of whoever asks, gone with its end, and said nowhere."""

from typing import Any

import pytest
from django.test import Client
from pydantic import ValidationError

from tests.cast import Cast
from tests.webapp.datasets.fetching.fetches import ask, run
from tests.webapp.datasets.files import chats
from tests.worker.fetching.hub_server import TOKEN, put_dataset
from tests.worker.fetching.web_server import WebServer
from webapp.datasets.fetching import forget_secrets, start_fetch
from webapp.datasets.models import FetchSecret
from worker.contract.fetching import FetchSecrets, WebAddress

pytestmark = pytest.mark.postgres


def test_nothing_that_shows_secrets_says_them():
    with pytest.raises(ValidationError) as caught:
        FetchSecrets(secret_access_key="canary" * 100)
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(FetchSecrets(**dict.fromkeys(FetchSecrets.model_fields, "canary")))


def test_secrets_are_stored_encrypted_and_go_with_the_fetch(alice: Client, cast: Cast):
    from django.db import connection

    secrets = FetchSecrets(access_key_id="a", secret_access_key="canary")
    version = start_fetch(WebAddress(address="https://data.example.org/a"), secrets=secrets, name="x", owner=cast.alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM datasets_fetchsecret")
        assert "canary" not in str(cursor.fetchall())
    forget_secrets()
    assert FetchSecret.objects.count() == 1, "it has not been fetched yet"
    version.tasks.update(state="failed")
    forget_secrets()
    assert not FetchSecret.objects.exists()


def test_trying_again_takes_the_token_of_whoever_tries(alice: Client, cast: Cast, opened: WebServer, settings: Any):
    settings.HF_ENDPOINT = opened.url("localhost", "")
    cast.alice.hub_token = TOKEN
    cast.alice.save()
    version = ask(alice, "hub", dataset="team/nothing")
    assert "no dataset team/nothing" in run(version).problem
    put_dataset(opened, "team/private", {"train.jsonl": chats(6)}, gated=True)
    alice.force_login(cast.ada)
    alice.post(f"/datasets/{version.dataset_id}/fetch-again/", {"dataset": "team/private"})
    assert "accept its conditions" in run(version).problem, "an administrator does not read with somebody else's token"
    assert [told.get("authorization") for _, told in opened.asked] == [f"Bearer {TOKEN}", None]
