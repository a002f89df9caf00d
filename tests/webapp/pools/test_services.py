"""Pools and workers: creating, joining once, heartbeats, draining, revoking."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cast import Cast
from webapp.pools.errors import BadPoolName, JoinRefused, PoolNameTaken, WorkerRevoked
from webapp.pools.models import JoinToken, Worker
from webapp.pools.selectors import join_command, online_workers
from webapp.pools.services import (
    create_pool,
    drain_worker,
    enable_worker,
    new_join_token,
    record_heartbeat,
    register_worker,
    revoke_worker,
)
from webapp.secrets import token_hash
from worker.contract.orders import GpuReport, Heartbeat, HostReport, Registration

GPU = GpuReport(index=0, uuid="GPU-1", name="H100", memory_total_bytes=80, memory_used_bytes=1, utilisation_percent=3)


def host(*gpus: GpuReport) -> HostReport:
    return HostReport(cpu_count=2, memory_total_bytes=8, memory_used_bytes=4, disk_free_bytes=9, gpus=gpus)


def registration(name: str = "gpu-1") -> Registration:
    return Registration(name=name, slots=2, versions={"torch": "2.13.0"}, host=host(GPU))


def test_it_creates_a_pool(cast: Cast) -> None:
    pool = create_pool(name=" a100 ", description="Four cards")
    assert (pool.name, pool.queue, pool.description) == ("a100", "pool.a100", "Four cards")


def test_it_refuses_a_name_that_is_taken(cast: Cast) -> None:
    with pytest.raises(PoolNameTaken, match="named local already"):
        create_pool(name="local", description="")


@pytest.mark.parametrize("name", ["", "with space", "a/b", "x" * 51, "ä"])
def test_it_refuses_a_name_that_is_no_slug(cast: Cast, name: str) -> None:
    with pytest.raises(BadPoolName):
        create_pool(name=name, description="")


def test_a_token_joins_one_machine(cast: Cast) -> None:
    token = new_join_token(cast.pool, by=cast.ada)
    worker, worker_token = register_worker(join_token=token, registration=registration())
    assert worker.pool == cast.pool
    assert (worker.name, worker.slots, worker.token_hash) == ("gpu-1", 2, token_hash(worker_token))
    assert [gpu.uuid for gpu in worker.gpus.all()] == ["GPU-1"]
    assert worker in online_workers()


def test_only_the_hash_of_a_token_is_stored(cast: Cast) -> None:
    token = new_join_token(cast.pool, by=cast.ada)
    assert JoinToken.objects.get().token_hash == token_hash(token) != token
    assert timedelta(hours=23) < JoinToken.objects.get().expires_at - datetime.now(UTC) < timedelta(hours=25)


def test_a_used_an_expired_and_a_wrong_token_are_told_apart(cast: Cast) -> None:
    used, expired = new_join_token(cast.pool, by=cast.ada), new_join_token(cast.pool, by=cast.ada)
    register_worker(join_token=used, registration=registration())
    JoinToken.objects.filter(token_hash=token_hash(expired)).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for token, code in ((used, "used_token"), (expired, "expired_token"), ("nbj_nonsense", "bad_token"), ("", "bad_token")):
        with pytest.raises(JoinRefused) as refusal:
            register_worker(join_token=token, registration=registration("other"))
        assert refusal.value.code == code
    assert not Worker.objects.filter(name="other").exists()


def test_a_second_machine_of_the_same_name_gets_a_number(cast: Cast) -> None:
    names = [
        register_worker(join_token=new_join_token(cast.pool, by=None), registration=registration("box"))[0].name for _ in range(2)
    ]
    assert names == ["box-2", "box-3"]


def test_a_heartbeat_updates_host_and_gpus(cast: Cast) -> None:
    record_heartbeat(cast.worker, heartbeat=Heartbeat(host=host(GPU, GPU.model_copy(update={"index": 1, "uuid": "GPU-2"}))))
    record_heartbeat(cast.worker, heartbeat=Heartbeat(host=host(GPU.model_copy(update={"memory_used_bytes": 55}))))
    cast.worker.refresh_from_db()
    assert cast.worker.host["cpu_count"] == 2
    assert [(gpu.index, gpu.memory_used_bytes) for gpu in cast.worker.gpus.all()] == [(0, 55)]


def test_draining_and_enabling(cast: Cast) -> None:
    drain_worker(cast.worker)
    assert Worker.objects.get(pk=cast.worker.pk).state == "draining"
    assert cast.worker not in online_workers()
    enable_worker(cast.worker)
    assert Worker.objects.get(pk=cast.worker.pk).state == "enabled"


def test_a_revoked_worker_stays_revoked(cast: Cast) -> None:
    revoke_worker(cast.worker)
    for change in (drain_worker, enable_worker):
        with pytest.raises(WorkerRevoked, match="box was revoked"):
            change(cast.worker)
    assert Worker.objects.get(pk=cast.worker.pk).state == "revoked"


def test_the_join_command_is_one_line() -> None:
    command = join_command("https://nibble.example.org", "nbj_x")
    assert command == ("curl -fsS https://nibble.example.org/worker/v1/join.sh | sh -s -- --token nbj_x --data ~/nibble-worker")
