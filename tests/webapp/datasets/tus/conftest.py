"""One server for all that is sent to it, and who sends."""

from collections.abc import Iterator

import pytest

from tests.webapp.datasets.tus_server import Sender, Server, serving

MIB = 2**20
LIMIT = 40 * MIB


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tus"), NIBBLE_MAX_DATASET_BYTES=str(LIMIT)) as running:
        yield running


@pytest.fixture(params=["/datasets/uploads/", "/api/v1/uploads"])
def alice(server: Server, request: pytest.FixtureRequest) -> Sender:
    return server.sender("alice", door=request.param)


@pytest.fixture
def sender(server: Server) -> Sender:
    return server.sender("alice")
