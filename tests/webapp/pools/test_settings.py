"""How the machines of a pool are used: settings with bounds, slots from them, the policy of the heartbeat, quarantine."""

from dataclasses import replace
from typing import Any

import pytest

from tests.cast import Cast
from webapp.pools.errors import BadPoolSetting, PoolsAreForAdministrators
from webapp.pools.forms import PoolSettingsForm
from webapp.pools.models import Gpu, Worker
from webapp.pools.policy import host_policy, slots_of
from webapp.pools.services import change_pool_settings, drain_worker, enable_worker, quarantine, revoke_worker
from webapp.pools.settings import PoolSettings

GIB = 2**30
USUAL = PoolSettings(
    jobs_per_gpu=2, offline_limit_seconds=600, min_free_disk_bytes=GIB, keep_runs_days=3.5, max_cache_bytes=100 * GIB
)


def test_it_works(cast: Cast) -> None:
    change_pool_settings(cast.pool, by=cast.ada, settings=USUAL)
    stored = type(cast.pool).objects.get(pk=cast.pool.pk)
    for pool in (stored, cast.pool):
        assert (pool.jobs_per_gpu, pool.offline_limit_seconds, pool.keep_runs_days) == (2, 600, 3.5)
        assert (pool.min_free_disk_bytes, pool.max_cache_bytes) == (GIB, 100 * GIB)


def test_a_member_is_refused(cast: Cast) -> None:
    with pytest.raises(PoolsAreForAdministrators):
        change_pool_settings(cast.pool, by=cast.alice, settings=USUAL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobs_per_gpu", 0),
        ("jobs_per_gpu", 17),
        ("offline_limit_seconds", 59),
        ("offline_limit_seconds", 24 * 3600 + 1),
        ("min_free_disk_bytes", -1),
        ("keep_runs_days", -0.1),
        ("keep_runs_days", float("nan")),
        ("max_cache_bytes", -1),
        ("max_cache_bytes", 2**63),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(cast: Cast, field: str, value: Any) -> None:
    with pytest.raises(BadPoolSetting) as refused:
        change_pool_settings(cast.pool, by=cast.ada, settings=replace(USUAL, **{field: value}))
    assert refused.value.field == field
    assert type(cast.pool).objects.get(pk=cast.pool.pk).jobs_per_gpu == 1


def test_the_form_speaks_in_minutes_and_gib(cast: Cast) -> None:
    values = PoolSettingsForm.values_of(cast.pool)
    assert (values["offline_limit_minutes"], values["min_free_disk_gib"], values["max_cache_gib"]) == (15, 2, None)
    form = PoolSettingsForm({**values, "max_cache_gib": "", "offline_limit_minutes": "1.5", "jobs_per_gpu": "4"})
    assert form.is_valid(), form.errors
    expected = PoolSettings(
        jobs_per_gpu=4, offline_limit_seconds=90, min_free_disk_bytes=2 * GIB, keep_runs_days=7, max_cache_bytes=None
    )
    assert form.settings == expected


@pytest.mark.parametrize(
    "wrong", [{"jobs_per_gpu": "17"}, {"offline_limit_minutes": "0.5"}, {"max_cache_gib": "-1"}, {"keep_runs_days": ""}]
)
def test_the_form_refuses_what_the_service_would(cast: Cast, wrong: dict[str, str]) -> None:
    form = PoolSettingsForm({**PoolSettingsForm.values_of(cast.pool), "max_cache_gib": "", **wrong})
    assert not form.is_valid()
    assert list(form.errors) == list(wrong)


@pytest.mark.parametrize(
    ("protocol", "registered", "gpus", "per_gpu", "slots"),
    [(2, 4, 4, 1, 4), (2, 4, 4, 3, 12), (2, 2, 0, 8, 2), (2, 8, 8, 16, 64), (1, 2, 2, 4, 2)],
)
def test_slots_come_from_gpus_and_the_pool(cast: Cast, protocol: int, registered: int, gpus: int, per_gpu: int, slots: int) -> None:
    cast.pool.jobs_per_gpu = per_gpu
    worker = Worker.objects.create(pool=cast.pool, name="m", token_hash="m" * 64, slots=registered, protocol=protocol)
    Gpu.objects.bulk_create(
        Gpu(worker=worker, index=n, uuid=str(n), name="Card", memory_total_bytes=1, memory_used_bytes=0) for n in range(gpus)
    )
    assert slots_of(worker) == slots_of(worker, gpus=gpus) == slots
    assert host_policy(worker).slots == slots


def test_a_machine_in_quarantine_says_why_until_somebody_enables_it(cast: Cast) -> None:
    quarantine(cast.worker, reason="GPU 0 fell off the bus." + "x" * 500)
    stored = Worker.objects.get(pk=cast.worker.pk)
    assert (stored.state, cast.worker.state) == ("draining", "draining")
    assert stored.state_reason.startswith("GPU 0 fell off the bus.")
    assert len(stored.state_reason) == 300
    enable_worker(cast.worker)
    assert Worker.objects.get(pk=cast.worker.pk).state_reason == ""


def test_one_that_a_person_drained_or_revoked_stays_as_it_is(cast: Cast) -> None:
    drain_worker(cast.worker)
    quarantine(cast.worker, reason="GPU 0 fell off the bus.")
    assert Worker.objects.get(pk=cast.worker.pk).state_reason == ""
    revoke_worker(cast.worker)
    quarantine(cast.worker, reason="GPU 0 fell off the bus.")
    assert Worker.objects.get(pk=cast.worker.pk).state == "revoked"
