"""A pool's settings, and what the board says of a machine that needs a look."""

import pytest
from django.test import Client

from tests.cast import Cast
from webapp.pools.models import Gpu, Worker, WorkerPool
from worker.contract import PROTOCOL

GIB = 2**30
GOOD = {"jobs_per_gpu": "2", "offline_limit_minutes": "30", "min_free_disk_gib": "5", "keep_runs_days": "3", "max_cache_gib": "40"}


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


def address(cast: Cast) -> str:
    return f"/pools/{cast.pool.pk}/settings/"


def board(admin: Client) -> str:
    return admin.get("/pools/").content.decode()


def test_they_are_shown_and_saved(cast: Cast, admin: Client):
    assert 'value="15"' in admin.get(address(cast)).content.decode()
    assert admin.post(address(cast), GOOD).headers["Location"] == "/pools/"
    pool = WorkerPool.objects.get(pk=cast.pool.pk)
    assert (pool.jobs_per_gpu, pool.offline_limit_seconds, pool.min_free_disk_bytes) == (2, 1800, 5 * GIB)
    assert (pool.keep_runs_days, pool.max_cache_bytes) == (3, 40 * GIB)
    assert "up to 2 jobs a GPU" in board(admin)


def test_an_empty_cache_limit_is_none(cast: Cast, admin: Client):
    admin.post(address(cast), {**GOOD, "max_cache_gib": ""})
    assert WorkerPool.objects.get(pk=cast.pool.pk).max_cache_bytes is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobs_per_gpu", "0"),
        ("jobs_per_gpu", "x"),
        ("offline_limit_minutes", "0"),
        ("min_free_disk_gib", "-1"),
        ("keep_runs_days", "nan"),
        ("max_cache_gib", "-3"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(cast: Cast, admin: Client, field: str, value: str):
    reply = admin.post(address(cast), {**GOOD, field: value})
    assert reply.status_code == 422
    assert list(reply.context["form"].errors) == [field]
    assert WorkerPool.objects.get(pk=cast.pool.pk).jobs_per_gpu == 1


def test_members_are_refused(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get(address(cast)).status_code == 403
    assert client.post(address(cast), GOOD).status_code == 403


def test_an_unknown_pool_is_404(admin: Client):
    assert admin.get("/pools/999/settings/").status_code == 404


def test_a_quarantined_machine_says_why(cast: Cast, admin: Client):
    Worker.objects.update(state="draining", state_reason="The GPU fell off the bus (Xid 79)", protocol=2)
    page = board(admin)
    assert "Quarantined" in page
    assert "Nibble drained it by itself: The GPU fell off the bus (Xid 79). Look at the machine" in page
    admin.post(f"/pools/workers/{cast.worker.pk}/enable/")
    assert "Quarantined" not in board(admin)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(4, ""), (3, "does not send models"), (2, "no preferences"), (1, "cannot pause them"), (0, "Its version is too old")],
)
def test_an_old_version_is_told(cast: Cast, admin: Client, protocol: int, said: str):
    Worker.objects.update(protocol=protocol)
    page = board(admin)
    assert said in page
    assert ("version" in page.split('class="worker"')[1].split('class="versions')[0]) is bool(said)


@pytest.mark.parametrize(("free", "said"), [(1, "Takes no new job: 1.0 GiB of disk are free"), (3, "Disk runs short"), (9, "")])
def test_a_short_disk_warns_before_it_hurts(cast: Cast, admin: Client, free: int, said: str):
    Worker.objects.update(protocol=PROTOCOL, host={"disk_free_bytes": free * GIB, "cpu_count": 1})
    page = board(admin)
    assert said in page
    assert ("worker-note" in page) is bool(said)


def test_memory_of_strangers_is_told(cast: Cast, admin: Client):
    about = {"memory_total_bytes": 80 * GIB, "memory_used_bytes": 40 * GIB, "foreign_used_bytes": 38 * GIB}
    Gpu.objects.create(worker=cast.worker, index=0, uuid="GPU-1", name="H100", **about)
    assert "38 of 80 GiB taken by another process" in board(admin)
    Gpu.objects.update(foreign_used_bytes=100)
    assert "another process" not in board(admin)


def test_what_a_machine_keeps_is_shown_before_it_goes(cast: Cast, admin: Client):
    kept = [{"kind": "runs", "count": 12, "size_bytes": 7 * GIB, "deletable_count": 4, "deletable_bytes": 2 * GIB}]
    Worker.objects.update(host={"cpu_count": 1, "kept": kept})
    page = board(admin)
    assert "Keeps 7.0 GiB, of which 2.0 GiB go with the next cleaning" in page
    assert "4 · 2.0 GiB" in page
