"""A cluster for each file of faults; after every test all that was promised is looked at (invariants.py)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Databases, databases
from tests.faults.cluster import Clocks, Cluster, running_cluster
from tests.faults.invariants import assert_invariants, nothing_is_left_of_agents
from webapp.pools.models import WorkerPool

PASSED = pytest.StashKey[bool]()
HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """KINDS of a file: all of it on each of these databases."""
    if kinds := getattr(metafunc.module, "KINDS", None):
        metafunc.parametrize("cluster", kinds, indirect=True, scope="module")


@pytest.fixture(scope="session")
def fresh_databases(django_db_blocker: Any) -> Iterator[Databases]:
    with django_db_blocker.unblock(), databases() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, fresh_databases: Databases, django_db_blocker: Any
) -> Iterator[Cluster]:
    """A file chooses with KIND ("sqlite", "postgres") or KINDS, CLOCKS, RINGS and SETTINGS."""
    module = request.module
    folder = tmp_path_factory.mktemp("cluster")
    kind, clocks = getattr(request, "param", getattr(module, "KIND", "sqlite")), getattr(module, "CLOCKS", Clocks())
    settings = getattr(module, "SETTINGS", {})
    with (
        django_db_blocker.unblock(),
        running_cluster(
            folder, databases=fresh_databases, kind=kind, clocks=clocks, rings=getattr(module, "RINGS", False), **settings
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def pool(cluster: Cluster, request: pytest.FixtureRequest) -> WorkerPool:
    """Each test has a pool of its own, so that no other test's worker takes its jobs."""
    return cluster.new_pool(re.sub(r"\W+", "-", request.node.name)[-50:].strip("-"))


@pytest.fixture(autouse=True)
def own_data_folder(cluster: Cluster) -> Path:
    """Instead of a folder for each test (tests/conftest.py): this process shares the cluster's."""
    return cluster.folder


@pytest.fixture(autouse=True)
def promises(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test, with its agents still there: whatever was done to the cluster, all of this holds."""
    yield
    try:
        if request.node.stash.get(PASSED, False):
            assert_invariants(cluster)
    finally:
        cluster.clear_away()
    nothing_is_left_of_agents(cluster)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report, cluster = outcome.get_result(), getattr(item, "funcargs", {}).get("cluster")
    if report.when == "call":
        item.stash[PASSED] = report.passed
    if report.failed and isinstance(cluster, Cluster):
        for program in cluster.programs():
            report.sections.append((program.name, program.said[-3000:]))
