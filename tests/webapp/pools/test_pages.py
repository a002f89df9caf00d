"""Pools & workers: for administrators only."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.jobs.work import claimed, submitted
from webapp.pools.board import board, percent
from webapp.pools.models import Gpu, JoinToken, Worker, WorkerPool
from webapp.secrets import token_hash

pytestmark = pytest.mark.postgres


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


def state_of(cast: Cast) -> str:
    return Worker.objects.get(pk=cast.worker.pk).state


def test_the_board_shows_machines_and_jobs(cast: Cast, admin: Client):
    job, _ = claimed(cast)
    Gpu.objects.create(
        worker=cast.worker, index=0, uuid="GPU-1", name="H100", memory_total_bytes=80 << 30, memory_used_bytes=20 << 30
    )
    page = admin.get("/pools/").content.decode()
    assert all(text in page for text in ("local", "box", "Online", "H100", "20.0 GiB of 80.0 GiB", "width:25%"))
    assert f"/jobs/{job.pk}/" in page


@pytest.mark.parametrize("address", ["create/", "1/join/", "workers/1/drain/", "workers/1/enable/", "workers/1/revoke/"])
def test_members_are_refused(cast: Cast, client: Client, address: str):
    client.force_login(cast.alice)
    assert client.get("/pools/").status_code == 403
    assert client.post(f"/pools/{address}", {"name": "mine"}).status_code == 403
    assert (WorkerPool.objects.count(), JoinToken.objects.count(), state_of(cast)) == (1, 0, "enabled")
    assert "Pools &amp; workers" not in client.get("/models/").content.decode()


def test_the_refresh_is_the_board_alone(cast: Cast, admin: Client):
    fragment = admin.get("/pools/", HTTP_HX_REQUEST="true").content.decode()
    assert fragment.startswith('<div id="board"')
    assert "every 5s" in fragment
    assert "<html" not in fragment


def test_a_silent_worker_is_offline(cast: Cast, admin: Client):
    assert board()[0].workers[0].is_online
    Worker.objects.update(last_seen_at=timezone.now() - timedelta(minutes=1))
    assert not board()[0].workers[0].is_online
    assert "Offline" in admin.get("/pools/").content.decode()


def test_slots_and_the_queue_are_counted(cast: Cast):
    Worker.objects.update(slots=2)
    claimed(cast)
    submitted(cast, name="second")
    card = board()[0]
    assert (card.slots, card.busy, card.queued) == (2, 1, 1)
    assert [job is None for job in card.workers[0].jobs] == [False, True]


def test_the_board_costs_the_same_for_many_workers(cast: Cast, django_assert_max_num_queries):
    for number in range(30):
        Worker.objects.create(pool=cast.pool, name=f"box-{number}", token_hash=str(number), last_seen_at=timezone.now())
    with django_assert_max_num_queries(4):
        assert len(board()[0].workers) == 31


def test_drain_and_enable(cast: Cast, admin: Client):
    url = f"/pools/workers/{cast.worker.pk}"
    assert admin.post(f"{url}/drain/").status_code == 302
    assert state_of(cast) == "draining"
    assert "Draining" in admin.get("/pools/").content.decode()
    assert admin.post(f"{url}/enable/").status_code == 302
    assert state_of(cast) == "enabled"


def test_a_revoked_worker_is_gone_for_good(cast: Cast, admin: Client):
    url = f"/pools/workers/{cast.worker.pk}"
    assert admin.post(f"{url}/revoke/").status_code == 302
    assert state_of(cast) == "revoked"
    assert board()[0].workers == ()
    refused = admin.post(f"{url}/enable/")
    assert refused.status_code == 409
    assert "revoked" in refused.content.decode()
    assert state_of(cast) == "revoked"


def test_an_unknown_worker_is_404(admin: Client):
    for action in ("drain", "enable", "revoke"):
        assert admin.post(f"/pools/workers/999/{action}/").status_code == 404
    assert admin.post("/pools/999/join/").status_code == 404


def test_a_pool_is_created(cast: Cast, admin: Client):
    assert admin.post("/pools/create/", {"name": "a100", "description": "big"}).status_code == 302
    assert WorkerPool.objects.get(name="a100").description == "big"
    assert "No machine has joined this pool" in admin.get("/pools/").content.decode()


@pytest.mark.parametrize("name", ["", "local", "with space", "a/b", "$(touch x)", "x" * 51])
def test_a_bad_pool_name_is_refused(cast: Cast, admin: Client, name: str):
    reply = admin.post("/pools/create/", {"name": name})
    assert reply.status_code == 422
    assert "name" in reply.context["form"].errors
    assert WorkerPool.objects.count() == 1


def test_the_join_command_is_shown_once(cast: Cast, admin: Client):
    reply = admin.post(f"/pools/{cast.pool.pk}/join/")
    found = re.search(r"nbj_[\w-]+", reply.content.decode())
    assert found
    token = found.group()
    assert JoinToken.objects.get().token_hash == token_hash(token)
    assert timedelta(hours=23) < JoinToken.objects.get().expires_at - timezone.now() <= timedelta(hours=24)
    assert "http://testserver" in reply.content.decode()
    assert "no-store" in reply["Cache-Control"]
    assert token not in admin.get("/pools/").content.decode()


def test_percent_of_nothing_is_nothing():
    assert [percent(1, of=0), percent(1, of=3), percent(9, of=3)] == [0, 33, 100]
