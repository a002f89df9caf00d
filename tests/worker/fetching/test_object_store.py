"""Objects of a real S3 server, and what its refusals mean."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.seaweed import ACCESS_KEY, SECRET_KEY, SeaweedServer, put
from tests.servers import running
from tests.worker.fetching.conftest import Bring
from tests.worker.fetching.web_server import Asked, WebServer, serving
from worker.contract.fetching import FetchFailure, FetchReport, FetchSecrets, S3Object
from worker.fetching.guard import resolve
from worker.fetching.object_store import address_of

ROWS = b"".join(b'{"text": "row %d"}\n' % number for number in range(50_000))
KEYS = FetchSecrets(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    server = SeaweedServer(tmp_path_factory.mktemp("seaweed"))
    with running(server):
        put(server, "data")
        put(server, "data/folder/chats.jsonl", ROWS)
        put(server, "data/a%20b/%C3%A9%2B%26.jsonl", ROWS)
        yield server


def read(bring: Bring, store: SeaweedServer, *, secrets: FetchSecrets = KEYS, **about: Any) -> FetchReport:
    source = S3Object(**{"bucket": "data", "key": "folder/chats.jsonl", "endpoint": store.url, **about})
    return bring(source, secrets=secrets, opened=(f"127.0.0.1:{store.port}",), resolver=resolve)


def failure_of(report: FetchReport) -> FetchFailure:
    assert report.failure is not None
    return report.failure


@pytest.mark.parametrize("key", ["folder/chats.jsonl", "a b/é+&.jsonl"])
def test_it_works(bring: Bring, store: SeaweedServer, tmp_path: Path, key: str):
    (file,) = read(bring, store, key=key).files
    assert (file.name, file.size_bytes, file.sha256) == (key.rpartition("/")[2], len(ROWS), hashlib.sha256(ROWS).hexdigest())
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET_KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [(ACCESS_KEY, "wrong"), ("nobody", SECRET_KEY), ("", "")],
    ids=["wrong secret", "wrong key", "no keys"],
)
def test_wrong_keys_are_refused(bring: Bring, store: SeaweedServer, access_key: str, secret_key: str):
    failure = failure_of(read(bring, store, secrets=FetchSecrets(access_key_id=access_key, secret_access_key=secret_key)))
    assert failure.kind == "refused"
    assert "keys" in failure.fix
    assert SECRET_KEY not in failure.reason


@pytest.mark.parametrize(("about", "word"), [({"key": "nothing.jsonl"}, "object"), ({"bucket": "nobodys"}, "bucket")])
def test_what_is_not_there(bring: Bring, store: SeaweedServer, about: dict[str, str], word: str):
    failure = failure_of(read(bring, store, **about))
    assert failure.kind == "not_found"
    assert word in failure.reason


def test_a_private_endpoint_that_nobody_opened(bring: Bring, store: SeaweedServer):
    report = bring(S3Object(bucket="data", key="a", endpoint=store.url), secrets=KEYS, opened=(), resolver=resolve)
    assert failure_of(report).kind == "forbidden_address"


def test_signatures_are_not_carried_to_another_host(bring: Bring):
    """An endpoint that redirects gets no second request at all."""
    pages = {"/data/a": lambda asked: asked.answer(302, b"", Location="http://127.0.0.1:1/")}
    with serving(WebServer(pages)) as server:
        source = S3Object(bucket="data", key="a", endpoint=server.url("127.0.0.1", ""))
        report = bring(source, secrets=KEYS, opened=(f"127.0.0.1:{server.server_port}",), resolver=resolve)
        assert failure_of(report).kind == "server"
        assert len(server.asked) == 1
        assert SECRET_KEY not in str(server.asked)


def test_a_bucket_of_another_region_is_named(bring: Bring):
    def moved(asked: Asked) -> None:
        asked.answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", x_amz_bucket_region="eu-central-1")

    with serving(WebServer({"/data/a": moved})) as server:
        source = S3Object(bucket="data", key="a", endpoint=server.url("127.0.0.1", ""))
        report = bring(source, secrets=KEYS, opened=(f"127.0.0.1:{server.server_port}",), resolver=resolve)
    assert "eu-central-1" in failure_of(report).reason


def test_amazons_addresses():
    assert (
        address_of(S3Object(bucket="rows", key="a b/c.jsonl", region="eu-west-1")).url
        == "https://rows.s3.eu-west-1.amazonaws.com/a%20b/c.jsonl"
    )
    assert address_of(S3Object(bucket="my.rows", key="c", region="eu-west-1")).url == "https://s3.eu-west-1.amazonaws.com/my.rows/c"
