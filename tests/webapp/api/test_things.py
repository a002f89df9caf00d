"""What the API says of users, models, pools, datasets and adapters, and what it says where nothing is."""

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.adapters.models import Adapter
from webapp.jobs.models import Job


@pytest.fixture
def adapter(cast: Cast) -> Adapter:
    parts = {"team": cast.alice.team, "owner": cast.alice}
    job = Job.objects.create(
        name="Done", pool=cast.pool, base_model=cast.base_model, dataset_version=cast.version, spec={}, status="succeeded", **parts
    )
    file = {"name": "adapter_config.json", "size_bytes": 2, "sha256": "0" * 64}
    return Adapter.objects.create(job=job, name="Done", files=[file], size_bytes=2, results={"steps": 3}, **parts)


def test_it_says_who_i_am(cast: Cast, client: Client) -> None:
    client.force_login(cast.alice)
    assert client.get("/api/v1/me").json() == {
        "id": cast.alice.pk,
        "email": "alice@example.org",
        "name": "Alice",
        "team": "Research",
        "role": "member",
    }


def test_it_lists_what_a_job_needs(cast: Cast, client: Client) -> None:
    client.force_login(cast.bob)
    assert client.get("/api/v1/models").json()["data"][0]["shape"]["num_hidden_layers"] == 30
    assert client.get("/api/v1/pools").json()["data"] == [
        {"id": cast.pool.pk, "name": "local", "description": "", "workers_online": 1, "slots": 1}
    ]
    dataset = client.get("/api/v1/datasets").json()["data"][0]
    assert (dataset["name"], dataset["versions"][0]["id"], dataset["versions"][0]["state"]) == (
        "greetings",
        cast.version.pk,
        "ready",
    )


def test_another_teams_datasets_are_not_listed(cast: Cast, client: Client) -> None:
    client.force_login(cast.charlie)
    assert client.get("/api/v1/datasets").json()["data"] == []


def test_no_secret_of_a_model_is_told(cast: Cast, client: Client) -> None:
    cast.base_model.hub_token = "hf_canary"
    cast.base_model.save()
    client.force_login(cast.ada)
    assert b"hf_canary" not in client.get("/api/v1/models").content


def test_an_adapter_says_where_to_download_it(cast: Cast, client: Client, adapter: Adapter) -> None:
    client.force_login(cast.bob)
    read = client.get(f"/api/v1/adapters/{adapter.pk}").json()
    assert read == client.get("/api/v1/adapters").json()["data"][0]
    assert (read["job"], read["download_url"]) == (adapter.job_id, f"/adapters/{adapter.pk}/download/")


def test_another_teams_adapter_is_not_there(cast: Cast, client: Client, adapter: Adapter) -> None:
    client.force_login(cast.charlie)
    assert client.get(f"/api/v1/adapters/{adapter.pk}").status_code == 404
    assert client.get("/api/v1/adapters").json()["data"] == []


def test_nothing_here_is_said_in_json(cast: Cast, client: Client) -> None:
    client.force_login(cast.alice)
    for response in (client.get("/api/v1/nonsense"), client.get("/api/v1/adapters/999")):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert client.delete("/api/v1/me").status_code == 405


def test_every_address_is_described(cast: Cast, client: Client) -> None:
    client.force_login(cast.alice)
    described = client.get("/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/jobs", "/api/v1/jobs/{job_id}/cancel", "/api/v1/datasets", "/api/v1/me"} <= set(described)
