"""A server with a certificate of its own authority, and a fetcher that believes in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.fetching.certificates import Authority
from tests.worker.fetching.web_server import WebServer, serving
from worker.contract.fetching import FetchReport, FetchSecrets, FetchSource, FetchTask
from worker.fetching.__main__ import fetch
from worker.fetching.guard import Resolver

HOST = "data.example.org"
Bring = Callable[..., FetchReport]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """https://data.example.org, which the tests' resolver puts on loopback."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with serving(WebServer({}, certificate=authority.certificate(HOST, "localhost", "127.0.0.1"))) as running:
        yield running


def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    """Fetches in this process; `opened` as an administrator would have it."""
    folder = tmp_path / "task"
    folder.mkdir()

    def now(
        source: FetchSource,
        *,
        opened: tuple[str, ...] = (HOST,),
        resolver: Resolver = loopback,
        secrets: FetchSecrets | None = None,
        limit_bytes: int = 2**24,
        stall_seconds: float = 5,
    ) -> FetchReport:
        task = FetchTask(source=source, limit_bytes=limit_bytes, stall_seconds=stall_seconds, opened=opened)
        report = fetch(folder, task=task, secrets=secrets or FetchSecrets(), resolver=resolver)
        assert FetchReport.model_validate_json((folder / "report.json").read_bytes()) == report
        assert (folder / "files").exists() == (report.failure is None), "nothing stays of a fetch that failed"
        return report

    return now
