"""A server elsewhere that an administrator opened."""

import pytest

from tests.cast import Cast
from tests.worker.fetching.conftest import authority, server  # noqa: F401
from tests.worker.fetching.web_server import WebServer
from webapp.datasets.models import OpenHost


@pytest.fixture
def opened(cast: Cast, server: WebServer) -> WebServer:  # noqa: F811
    OpenHost.objects.create(name=f"localhost:{server.server_port}", opened_by=cast.ada)
    return server
