"""A dashboard for each file of end-to-end tests."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.worker.agent.dashboard import Dashboard, running_dashboard
from tests.worker.agent.orders import DATASET
from tests.worker.agent.scripted_door import ScriptedDoor, scripted_door
from tests.worker.agent.tiny_model import write_model
from webapp.pools.models import WorkerPool


@pytest.fixture(scope="module")
def dashboard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Dashboard]:
    """With leases as long as the file's LEASE_SECONDS says."""
    folder, lease = tmp_path_factory.mktemp("dashboard"), request.module.LEASE_SECONDS
    with django_db_blocker.unblock(), running_dashboard(folder, model=write_model(folder / "tiny"), lease_seconds=lease) as running:
        yield running


@pytest.fixture
def pool(dashboard: Dashboard, request: pytest.FixtureRequest) -> WorkerPool:
    """Each test has a pool of its own, so that no other test's worker takes its jobs."""
    return dashboard.new_pool(re.sub(r"\W+", "-", request.node.name)[-50:].strip("-"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDoor]:
    """A door that speaks the contract, for attempts of the scripted trainer."""
    monkeypatch.setenv("NIBBLE_TRAINER_MODULE", "tests.fake_trainer")
    with scripted_door() as door:
        door.dataset = DATASET
        yield door
