"""Which job a slot gets: backoff, machines to avoid, memory, sharing a GPU, wide jobs and reservations, older workers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.queueing import GIB, asks, attempt_of, back_in_queue, ends, machine, queued
from tests.webapp.jobs.work import batch, metrics, spec
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Attempt, Checkpoint, Job, JobStatus
from webapp.jobs.waiting import waiting_reason
from webapp.pools.models import Gpu, Worker
from webapp.pools.services import enable_worker
from worker.contract import PROTOCOL
from worker.contract.orders import WorkOrder


def got(order: WorkOrder | None) -> int | None:
    return order.job_id if order else None


def test_a_job_in_its_pause_lets_the_next_one_go(cast: Cast) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    pausing, behind = queued(cast, cast.alice, ago=20, not_before=soon), queued(cast, cast.alice, ago=10)
    worker = machine(cast, name="m", slots=2)
    assert got(asks(worker)) == behind.pk
    assert asks(worker, slot=1) is None
    Job.objects.filter(pk=pausing.pk).update(not_before=datetime.now(UTC) - timedelta(seconds=1))
    assert got(asks(worker, slot=1)) == pausing.pk


@pytest.mark.parametrize("cause", ["node_trouble", "disk_full", "host_out_of_memory"])
def test_a_machine_that_failed_a_job_does_not_get_it_again(cast: Cast, cause: str) -> None:
    bad, good = machine(cast, name="bad"), machine(cast, name="good")
    queued(cast, cast.alice)
    order = asks(bad)
    assert order is not None
    job = back_in_queue(order, cause=cause)
    assert asks(bad) is None
    assert got(asks(good)) == job.pk


def test_unless_there_is_no_other(cast: Cast) -> None:
    bad = machine(cast, name="bad")
    Worker.objects.exclude(pk=bad.pk).delete()
    away = machine(cast, name="away", last_seen_at=datetime.now(UTC) - timedelta(hours=1))
    machine(cast, name="small", gpus=1, gib=1)
    queued(cast, cast.alice, memory_bytes=30 * GIB)
    order = asks(bad)
    assert order is not None
    job = back_in_queue(order, cause="node_trouble")
    assert got(asks(bad)) == job.pk
    assert away.name == "away"


def test_another_cause_says_nothing_of_the_machine(cast: Cast) -> None:
    worker = machine(cast, name="m")
    queued(cast, cast.alice)
    order = asks(worker)
    assert order is not None
    assert got(asks_again(worker, back_in_queue(order, cause="trainer_killed"))) == order.job_id


def asks_again(worker: Worker, job: Job) -> WorkOrder | None:
    assert job.status == JobStatus.QUEUED
    return asks(worker)


def test_a_job_that_does_not_fit_lets_a_smaller_one_go(cast: Cast) -> None:
    large, small = queued(cast, cast.alice, ago=20, memory_bytes=60 * GIB), queued(cast, cast.alice, ago=10, memory_bytes=20 * GIB)
    assert got(asks(machine(cast, name="a10", gpus=1, gib=24))) == small.pk
    order = asks(machine(cast, name="a100", gpus=1, gib=80))
    assert got(order) == large.pk
    assert order is not None
    assert (attempt_of(order).gpu_index, attempt_of(order).memory_bytes) == (0, 60 * GIB)


def test_a_thousand_that_do_not_fit_do_not_hide_the_one_that_does(cast: Cast) -> None:
    Job.objects.bulk_create(
        Job(
            name="large",
            owner=cast.alice,
            team=cast.alice.team,
            pool=cast.pool,
            base_model=cast.base_model,
            dataset_version=cast.version,
            spec=spec().model_dump(mode="json"),
            status=JobStatus.QUEUED,
            queued_at=datetime.now(UTC) - timedelta(seconds=100),
            memory_bytes=60 * GIB,
        )
        for _ in range(1000)
    )
    small = queued(cast, cast.alice, ago=1, memory_bytes=10 * GIB)
    assert got(asks(machine(cast, name="a10", gpus=1, gib=24))) == small.pk


def test_strangers_on_the_gpu_count(cast: Cast) -> None:
    job = queued(cast, cast.alice, memory_bytes=50 * GIB)
    worker = machine(cast, name="m", gpus=1, gib=80, foreign_gib=38)
    assert asks(worker) is None
    Gpu.objects.filter(worker=worker).update(foreign_used_bytes=0)
    assert asks(worker, free_gib=40) is None, "the worker itself measured too little"
    assert got(asks(worker, free_gib=79)) == job.pk


def test_small_jobs_share_a_gpu_where_the_pool_allows_it(cast: Cast) -> None:
    for n in range(3):
        queued(cast, cast.alice, ago=20 - n, memory_bytes=35 * GIB)
    worker = machine(cast, name="m", gpus=1, gib=80)
    assert got(asks(worker)) is not None
    assert asks(worker, slot=1) is None, "one job a GPU"
    type(cast.pool).objects.update(jobs_per_gpu=3)
    assert got(asks(worker, slot=1)) is not None
    assert asks(worker, slot=2) is None, "105 of 80 GiB"
    assert asks(machine(cast, name="old", gpus=1, protocol=1), slot=1) is None, "protocol 1 knows no policy"


def test_a_cpu_is_asked_for_the_weights_alone(cast: Cast) -> None:
    queued(cast, cast.alice, memory_bytes=500 * GIB)
    worker = machine(cast, name="laptop")
    assert asks(worker, free_gib=0.01) is None
    assert asks(worker, free_gib=1) is not None


def test_a_full_disk_takes_nothing(cast: Cast) -> None:
    queued(cast, cast.alice)
    worker = machine(cast, name="m", host={"disk_free_bytes": GIB})
    assert asks(worker) is None
    Worker.objects.filter(pk=worker.pk).update(host={"disk_free_bytes": 3 * GIB})
    assert asks(worker) is not None


def test_a_job_wider_than_every_machine_holds_nobody_up(cast: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 0
    wide, behind = queued(cast, cast.alice, slots=5, ago=5000), [queued(cast, cast.alice, ago=10 - n) for n in range(2)]
    worker = machine(cast, name="m", slots=2)
    assert [got(asks(worker, slot=slot)) for slot in range(2)] == [job.pk for job in behind]
    assert Job.objects.get(pk=wide.pk).status == JobStatus.QUEUED


def test_a_wide_job_is_overtaken_for_a_while_and_then_reserves_a_worker(cast: Cast, settings: Any) -> None:
    worker = machine(cast, name="m", slots=2)
    first = queued(cast, cast.bob)
    running = asks(worker, slot=0)
    assert got(running) == first.pk
    wide = queued(cast, cast.alice, slots=2, ago=100)
    overtakes, waits = queued(cast, cast.alice, ago=50), queued(cast, cast.alice, ago=40)
    order = asks(worker, slot=1)
    assert got(order) == overtakes.pk
    assert order is not None
    ends(order)
    settings.PATIENCE_SECONDS = 90
    assert asks(worker, slot=1) is None, "kept free: the wide job waits for longer than that"
    ahead = queued(cast, cast.alice, priority=30)
    order = asks(worker, slot=1)
    assert got(order) == ahead.pk, "what stands before it still goes"
    assert order is not None
    assert running is not None
    ends(order)
    ends(running)
    order = asks(worker, slot=1)
    assert got(order) == wide.pk
    assert order is not None
    assert order.slots == (1, 0)
    ends(order)
    assert got(asks(worker, slot=0)) == waits.pk


def test_only_one_worker_is_kept_free(cast: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 30
    nearer, farther = machine(cast, name="nearer", slots=3), machine(cast, name="farther", slots=3)
    running = [queued(cast, cast.bob, ago=10) for _ in range(3)]
    for worker, slot in ((nearer, 0), (farther, 0), (farther, 1)):
        assert asks(worker, slot=slot) is not None
    queued(cast, cast.alice, slots=3, ago=100)
    behind = queued(cast, cast.alice, ago=50)
    assert asks(nearer, slot=1) is None
    assert got(asks(farther, slot=2)) == behind.pk
    assert len(running) == 3


def test_room_on_a_worker_that_is_too_old_reserves_nothing_and_is_not_promised(cast: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 30
    machine(cast, name="old", slots=2, protocol=2)
    new = machine(cast, name="new", slots=2)
    queued(cast, cast.bob)
    assert asks(new, slot=0) is not None
    wide = queued(cast, cast.alice, slots=2, ago=100, protocol=3)
    queued(cast, cast.alice, ago=50)
    assert asks(new, slot=1) is None, "kept free for the wide job, which the idle old worker is never handed"
    assert "within seconds" not in waiting_reason(wide)


def test_all_slots_that_may_have_it_are_busy(cast: Cast) -> None:
    machine(cast, name="old", protocol=2)
    new = machine(cast, name="new")
    queued(cast, cast.bob)
    assert asks(new) is not None
    job = queued(cast, cast.alice, protocol=3)
    told = "Next in line; the only slot of pool cpu is busy on workers that are new enough for its settings."
    assert waiting_reason(job) == told.replace("cpu", cast.pool.name)


def test_memory_of_a_shared_gpu_is_reserved_too(cast: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 30
    type(cast.pool).objects.update(jobs_per_gpu=2)
    Worker.objects.filter(pk=cast.worker.pk).delete()
    worker = machine(cast, name="m", gpus=1, gib=80)
    queued(cast, cast.bob, memory_bytes=40 * GIB)
    running = asks(worker)
    assert running is not None
    large = queued(cast, cast.alice, memory_bytes=60 * GIB, ago=100)
    queued(cast, cast.alice, memory_bytes=10 * GIB, ago=90)
    assert asks(worker, slot=1) is None
    ends(running)
    assert got(asks(worker, slot=1)) == large.pk


def test_a_job_whose_team_may_not_reserves_nothing(cast: Cast, settings: Any) -> None:
    settings.PATIENCE_SECONDS = 30
    type(cast.alice).objects.filter(pk=cast.alice.pk).update(running_limit=1)
    worker = machine(cast, name="m", slots=2)
    queued(cast, cast.bob)
    assert asks(worker) is not None
    queued(cast, cast.alice, slots=2, ago=100)
    behind = queued(cast, cast.bob, ago=50)
    assert got(asks(worker, slot=1)) == behind.pk


def test_settings_that_cannot_be_read_fail_the_job_and_the_next_one_goes(cast: Cast) -> None:
    broken, behind = queued(cast, cast.alice, spec={"kind": "sft", "of": "another age"}, ago=20), queued(cast, cast.alice, ago=10)
    assert got(asks(machine(cast, name="m"))) == behind.pk
    broken.refresh_from_db()
    assert broken.status == JobStatus.FAILED
    assert broken.failure["cause"] == "bad_config"
    assert "cannot be read any more" in broken.failure["message"]


def with_checkpoint(order: WorkOrder) -> Checkpoint:
    attempt = attempt_of(order)
    files = [{"name": "adapter.bin", "size_bytes": 1, "sha256": "a" * 64}]
    return Checkpoint.objects.create(job=attempt.job, attempt=attempt, step=7, size_bytes=1, files=files)


def test_an_older_worker_gets_its_own_protocol_and_no_job_that_resumes(cast: Cast, settings: Any) -> None:
    old, new = machine(cast, name="old", protocol=1), machine(cast, name="new")
    queued(cast, cast.alice)
    order = asks(old, protocol=1)
    assert order is not None
    assert (order.protocol, order.resume) == (1, None)
    store_batch(attempt_of(order), batch(attempt_of(order), metrics(1)))
    checkpoint = with_checkpoint(order)
    folder = settings.CHECKPOINTS_DIR / str(checkpoint.pk)
    folder.mkdir(parents=True)
    (folder / "adapter.bin").write_bytes(b"x")
    job = back_in_queue(order, cause="trainer_killed")
    assert asks(old, protocol=1) is None
    again = asks(new)
    assert again is not None
    assert (again.job_id, again.protocol) == (job.pk, PROTOCOL)
    assert again.resume is not None
    assert again.resume.step == Attempt.objects.get(pk=again.attempt_id).first_step == 7


def test_a_newer_workers_checkpoint_is_not_for_an_older_one(cast: Cast, settings: Any) -> None:
    new, older = machine(cast, name="new"), machine(cast, name="older", protocol=2)
    queued(cast, cast.alice)
    order = asks(new)
    assert order is not None
    folder = settings.CHECKPOINTS_DIR / str(with_checkpoint(order).pk)
    folder.mkdir(parents=True)
    (folder / "adapter.bin").write_bytes(b"x")
    back_in_queue(order, cause="trainer_killed")
    assert asks(older, protocol=2) is None
    again = asks(new)
    assert again is not None
    assert again.resume is not None


def test_a_drained_worker_gets_nothing_until_it_is_enabled(cast: Cast) -> None:
    job = queued(cast, cast.alice)
    worker = machine(cast, name="m", state=Worker.State.DRAINING, state_reason="Its GPU failed.")
    assert asks(worker) is None
    enable_worker(worker)
    assert Worker.objects.get(pk=worker.pk).state_reason == ""
    assert got(asks(worker)) == job.pk
