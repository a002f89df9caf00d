"""What people ask for: wrong wishes are said at the form."""

import pytest
from django.test import Client

from webapp.datasets.models import Dataset

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("https", {"address": ""}, "required"),
        ("https", {"address": "ftp://example.org/a"}, "begins with https"),
        ("https", {"address": "https://user:secret@example.org/a"}, "user name and password"),
        ("https", {"address": "http://example.org/a"}, "Use https"),
        ("https", {"address": "https://[::1"}, "begins with https"),
        ("hub", {"dataset": "../../etc"}, "owner/name"),
        ("hub", {"dataset": "a/b/c"}, "owner/name"),
        ("s3", {"address": "bucket/key"}, "s3://bucket/key"),
        ("s3", {"address": "s3://bucket/"}, "s3://bucket/key"),
        ("s3", {"address": "s3://b!/key"}, "cannot be one"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a"}, "both keys"),
        ("s3", {"address": "s3://bucket/key", "region": "../x"}, "cannot be one"),
        ("s3", {"address": "s3://bucket/key", "endpoint": "http://127.0.0.1:9000"}, "Use https"),
        ("s3", {"address": "s3://bucket/key", "endpoint": "https://a.example.org/?X-Amz-Signature=canary"}, "the endpoint alone"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a", "secret_access_key": "x" * 501}, "at most 500"),
        ("s3", {"address": "s3://bucket/key", "access_key_id": "a" * 201, "secret_access_key": "x"}, "at most 200"),
    ],
)
def test_wrong_wishes_are_said_at_the_form(alice: Client, kind: str, fields: dict[str, str], word: str):
    before = Dataset.objects.count()
    reply = alice.post(f"/datasets/fetch/{kind}/", fields)
    assert reply.status_code == 422
    assert word in reply.content.decode()
    assert Dataset.objects.count() == before


def test_an_unknown_source_is_not_there(alice: Client):
    assert alice.post("/datasets/fetch/ftp/", {}).status_code == 404


@pytest.mark.parametrize(
    ("kind", "word"), [("hub", "owner/name"), ("https", "Address of the file"), ("s3", "s3://bucket"), ("x", "Drop files")]
)
def test_every_source_is_a_link(alice: Client, kind: str, word: str):
    assert word in alice.get(f"/datasets/?from={kind}").content.decode()
