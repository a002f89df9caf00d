"""Who asks for datasets."""

import pytest
from django.test import Client

from tests.cast import Cast


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client
