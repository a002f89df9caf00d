"""Hosts that administrators open for fetching, on the Settings page."""

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.datasets.models import OpenHost
from webapp.datasets.open_hosts import HostRefused, is_open, open_host


def test_it_works(cast: Cast, client: Client):
    client.force_login(cast.ada)
    assert client.post("/settings/hosts", {"host": " Minio.Example.org:9000 "}).status_code == 302
    assert "minio.example.org:9000" in client.get("/settings/").content.decode()
    assert is_open("minio.example.org", port=9000)
    assert not is_open("minio.example.org", port=443)
    client.post(f"/settings/hosts/{OpenHost.objects.get().pk}/close")
    assert not OpenHost.objects.exists()


def test_members_open_nothing(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.post("/settings/hosts", {"host": "localhost"}).status_code == 403
    with pytest.raises(HostRefused):
        open_host("localhost", by=cast.alice)
    host = open_host("localhost", by=cast.ada)
    assert client.post(f"/settings/hosts/{host.pk}/close").status_code == 403
    assert OpenHost.objects.exists()


WRONG = (
    "",
    "https://example.org",
    "example.org/path",
    "*",
    "*.example.org",
    "a b",
    "host:0",
    "host:99999",
    "host:x",
    "10.0.0.0/8",
    "a:b@c",
)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_host(cast: Cast, client: Client, name: str):
    client.force_login(cast.ada)
    assert client.post("/settings/hosts", {"host": name}).status_code == 422
    assert not OpenHost.objects.exists()


@pytest.mark.parametrize(
    ("given", "kept"), [("10.0.0.7", "10.0.0.7"), ("[fd00::7]:9000", "[fd00::7]:9000"), ("fd00::7", "fd00::7"), ("HOST", "host")]
)
def test_ways_to_write_one(cast: Cast, given: str, kept: str):
    assert open_host(given, by=cast.ada).name == kept
