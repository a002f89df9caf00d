"""A slot takes one order at a time, and hands back what it does not understand."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.agent.orders import DATASET, work_order
from tests.worker.agent.scripted_door import ScriptedDoor, scripted_door
from tests.worker.agent.tiny_model import write_model
from worker.agent.membership import Membership
from worker.agent.pace import Pace
from worker.agent.slot import Slot, slot_lock

QUICK = Pace(heartbeat_seconds=0.2, batch_seconds=0.05, poll_seconds=0.05)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDoor]:
    monkeypatch.setenv("NIBBLE_TRAINER_MODULE", "tests.fake_trainer")
    with scripted_door() as door:
        door.dataset = DATASET
        yield door


def slot(door: ScriptedDoor, data: Path) -> Slot:
    joined = Membership(url=door.url, worker_id=1, worker_token="nbw_x", name="box", pool="p", queue="pool.p", slots=1)
    return Slot(data, 0, None, joined, QUICK)


def order(data: Path, **changes: Any) -> dict[str, Any]:
    spec = {"base_model": {"kind": "folder", "name_or_path": str(write_model(data / "model"))}, "training": {"max_steps": 3}}
    return work_order(spec=spec, job_name="steps=1").model_dump(mode="json") | changes


def test_it_works_until_there_is_nothing_left(door: ScriptedDoor, tmp_path: Path) -> None:
    door.orders = [order(tmp_path, job_id=1), order(tmp_path, job_id=2)]
    slot(door, tmp_path).work_until_empty(wait=True)
    assert [finish["end"]["outcome"] for finish in door.finished] == ["finished", "finished"]


@pytest.mark.parametrize("newer", [{"protocol": 2}, {"protocol": 2, "something_new": 1}, {"dataset": {"kind": "stream"}}], ids=str)
def test_an_order_of_a_newer_dashboard_is_handed_back(door: ScriptedDoor, tmp_path: Path, newer: dict[str, Any]) -> None:
    door.orders = [order(tmp_path, **newer)]
    slot(door, tmp_path).work_until_empty(wait=True)
    end = door.finished[0]["end"]
    assert (end["outcome"], end["message"]) == (
        "failed",
        "The worker does not understand this job: the dashboard is newer than the worker.",
    )
    assert door.finished[0]["fence"] == 3


def test_who_asks_by_the_clock_passes_a_busy_slot_by(door: ScriptedDoor, tmp_path: Path) -> None:
    door.orders = [order(tmp_path)]
    with slot_lock(tmp_path, 0, wait=True):
        slot(door, tmp_path).work_until_empty(wait=False)
    assert len(door.orders) == 1


def test_a_ring_waits_for_a_busy_slot(door: ScriptedDoor, tmp_path: Path) -> None:
    door.orders = [order(tmp_path)]
    with slot_lock(tmp_path, 0, wait=True):
        ring = threading.Thread(target=slot(door, tmp_path).work_until_empty, kwargs={"wait": True})
        ring.start()
        ring.join(0.3)
        assert ring.is_alive()
        assert len(door.orders) == 1
    ring.join(20)
    assert len(door.finished) == 1


def test_an_attempt_that_goes_wrong_does_not_stop_the_asking(door: ScriptedDoor, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    door.orders = [order(tmp_path)]
    slot(door, tmp_path).poll(seconds=0.2)
    assert door.finished[0]["end"]["cause"] == "internal"
    (tmp_path / "runs").unlink()
    door.orders = [order(tmp_path)]
    slot(door, tmp_path).poll(seconds=0.2)
    wait_until(lambda: len(door.finished) == 2, what="the next order")
    assert door.finished[1]["end"]["outcome"] == "finished"
