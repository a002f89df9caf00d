"""A host's supervisor as a real process at the scripted door: it drains, follows the pool's policy, and leaves strangers' GPUs alone."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.dashboard import Agent, running_agent
from tests.worker.agent.orders import work_order
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.agent.tiny_model import write_model
from worker.agent.membership import Membership, save
from worker.contract import PROTOCOL

LONG = "steps=5000 step_ms=20"
GB = 10**9
POLICY = {"slots": 1, "offline_limit_seconds": 900, "min_free_disk_bytes": 0, "keep_runs_days": 7}
FAKE_NVML = Path(__file__).parent / "fake_nvml"


@contextmanager
def agent_at(url: str, data: Path, *, slots: int = 1, **environment: str) -> Iterator[Agent]:
    """It has joined, and asks: no Redis is told of."""
    member = Membership(url=url, worker_id=1, worker_token="nbw_x", name="box", pool="local", queue="pool.local", slots=slots)
    save(data, member)
    quick = {"NIBBLE_HEARTBEAT_SECONDS": "0.1", "NIBBLE_POLL_SECONDS": "0.1", "NIBBLE_GRACE_SECONDS": "0.3"}
    with running_agent(data, **{**quick, **environment}) as agent:
        yield agent


def give(door: ScriptedDoor, data: Path, script: str, *, number: int = 1) -> None:
    """The next claim gets this job."""
    model = write_model(data / "model") if not (data / "model").exists() else data / "model"
    spec = {"base_model": {"kind": "folder", "name_or_path": str(model)}, "training": {"max_steps": 3}}
    order = work_order(job_name=script, spec=spec, job_id=40 + number)
    door.orders.append(order.model_dump(mode="json", exclude_none=True))


def wait_for_step(door: ScriptedDoor, step: int) -> None:
    wait_until(lambda: any(event["step"] >= step for event in door.said("metrics")), what=f"step {step}")


def told(door: ScriptedDoor) -> dict[str, Any]:
    end: dict[str, Any] = door.finished[-1]["end"]
    return end


def test_a_heartbeat_tells_of_the_host(scripted: ScriptedDoor, tmp_path: Path) -> None:
    (tmp_path / "runs" / "job-1-attempt-1").mkdir(parents=True)
    (tmp_path / "runs" / "job-1-attempt-1" / "events.jsonl").write_text("{}\n" * 5000)
    with agent_at(scripted.url, tmp_path):
        wait_until(lambda: scripted.beats and scripted.beats[-1]["host"].get("kept"), what="a heartbeat with what is kept")
    beat = scripted.beats[-1]
    assert beat["protocol"] == PROTOCOL
    assert beat["host"]["disk_total_bytes"] > beat["host"]["disk_free_bytes"] > 0
    kept = {each["kind"]: each for each in beat["host"]["kept"]}
    assert (kept["runs"]["count"], kept["runs"]["deletable_count"]) == (1, 1), "older than anything: it has no sign of life"
    assert kept["runs"]["deletable_bytes"] == kept["runs"]["size_bytes"] > 10_000
    assert kept["base_models"]["count"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(scripted: ScriptedDoor, tmp_path: Path, number: signal.Signals) -> None:
    give(scripted, tmp_path, LONG)
    with agent_at(scripted.url, tmp_path) as agent:
        wait_for_step(scripted, 3)
        give(scripted, tmp_path, LONG, number=2)
        below = agent.below()
        agent.process.send_signal(number)
        assert agent.process.wait(15) == 0
        assert all(is_over(process) for process in below)
    assert told(scripted) == {"outcome": "checkpointed", "step": scripted.kept[-1], "why": "draining"}
    assert len(scripted.orders) == 1, "no new claim"


def test_a_host_without_work_leaves_at_once(scripted: ScriptedDoor, tmp_path: Path) -> None:
    with agent_at(scripted.url, tmp_path, slots=2) as agent:
        wait_until(lambda: len({claim["slot"] for claim in scripted.claims}) == 2, what="both slots ask")
        began = time.monotonic()
        agent.process.terminate()
        assert agent.process.wait(10) == 0
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_all_at_once(scripted: ScriptedDoor, tmp_path: Path, number: signal.Signals, code: int) -> None:
    give(scripted, tmp_path, f"{LONG} deaf=1 orphan=1")
    with agent_at(scripted.url, tmp_path) as agent:
        wait_for_step(scripted, 1)
        below = agent.below()
        agent.process.send_signal(number)
        wait_until(lambda: "Stopping" in agent.said, what="the first is heard")
        agent.process.send_signal(number)
        assert agent.process.wait(8) == code
        assert all(is_over(process) for process in below)
    assert not scripted.finished


def test_a_trainer_that_does_not_listen_holds_nobody_up(scripted: ScriptedDoor, tmp_path: Path) -> None:
    give(scripted, tmp_path, f"{LONG} save=5 deaf=1")
    with agent_at(scripted.url, tmp_path, NIBBLE_DRAIN_SECONDS="5") as agent:
        wait_until(lambda: scripted.kept, what="a checkpoint")
        agent.process.terminate()
        assert agent.process.wait(12) == 0
    assert told(scripted)["outcome"] == "checkpointed"
    assert told(scripted)["step"] in scripted.kept[-2:], "it goes on saving, so one more may arrive while the last word is said"


def test_a_dashboard_that_never_answers_does_not_hold_a_stop_up(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        agent_at(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path) as agent,
    ):
        connection, _ = silent.accept()
        agent.process.terminate()
        assert agent.process.wait(5) == 0
        connection.close()


def test_the_next_start_takes_work_again(scripted: ScriptedDoor, tmp_path: Path) -> None:
    with agent_at(scripted.url, tmp_path):
        wait_until(lambda: scripted.claims, what="a claim")
    assert (tmp_path / "draining").exists()
    scripted.claims.clear()
    with agent_at(scripted.url, tmp_path):
        wait_until(lambda: scripted.claims, what="a claim")


def test_slots_come_and_go_with_the_policy(scripted: ScriptedDoor, tmp_path: Path) -> None:
    scripted.beat_reply = {"state": "enabled", "policy": {**POLICY, "slots": 2}}
    with agent_at(scripted.url, tmp_path) as agent:
        wait_until(lambda: {claim["slot"] for claim in scripted.claims} == {0, 1}, what="two slots ask")
        wait_until(lambda: "gives this worker 2 slots" in agent.said, what="the word about it")
        assert json.loads((tmp_path / "policy.json").read_text())["slots"] == 2
        give(scripted, tmp_path, "steps=150 step_ms=20")
        give(scripted, tmp_path, "steps=150 step_ms=20", number=2)
        wait_until(lambda: len(agent.below("tests.fake_trainer")) == 2, what="two trainers")
        scripted.beat_reply = {"state": "enabled", "policy": POLICY}
        wait_until(lambda: "gives this worker 1 slot now" in agent.said, what="the word about it")
        scripted.claims.clear()
        wait_until(lambda: len(scripted.finished) == 2, what="both ends: a slot that works is left alone")
        assert {end["end"]["outcome"] for end in scripted.finished} == {"finished"}
        wait_until(lambda: len(agent.below("worker.agent", "slot")) == 1, what="the end of the second slot")
        wait_until(lambda: scripted.claims, what="the first slot asks on")
        assert {claim["slot"] for claim in scripted.claims} == {0}


def test_a_policy_outlives_a_restart(scripted: ScriptedDoor, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({**POLICY, "slots": 2}))
    with agent_at(scripted.url, tmp_path):
        wait_until(lambda: {claim["slot"] for claim in scripted.claims} == {0, 1}, what="two slots ask")


def test_a_host_short_of_disk_takes_nothing_and_says_so(scripted: ScriptedDoor, tmp_path: Path) -> None:
    least = {**POLICY, "min_free_disk_bytes": 10**18}
    (tmp_path / "policy.json").write_text(json.dumps(least))
    give(scripted, tmp_path, "steps=2")
    with agent_at(scripted.url, tmp_path) as agent:
        wait_until(lambda: "no new job is taken until it has more" in agent.said, what="the word about it")
        beats = len(scripted.beats)
        wait_until(lambda: len(scripted.beats) > beats + 10, what="ten more heartbeats")
        assert scripted.claims == []
        assert agent.said.count("no new job is taken") == 1
        scripted.beat_reply = {"state": "enabled", "policy": POLICY}
        wait_until(lambda: scripted.finished, what="the job, once there is room")


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two GPUs, told of by a driver of ours."""
    file = tmp_path / "gpus.json"
    monkeypatch.setenv("FAKE_GPUS", str(file))
    monkeypatch.setenv("PYTHONPATH", str(FAKE_NVML))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tell(file, 0, 0)
    return file


def tell(file: Path, *used: int, lost: int | None = None) -> None:
    gpus = [{"uuid": f"GPU-{n}", "used": held, "total": 80 * GB, "is_lost": n == lost} for n, held in enumerate(used)]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(gpus))
    part.replace(file)


def foreign(door: ScriptedDoor) -> list[int]:
    return [gpu["foreign_used_bytes"] for gpu in door.beats[-1]["host"]["gpus"]]


def test_slots_name_their_gpus(scripted: ScriptedDoor, gpus: Path, tmp_path: Path) -> None:
    tell(gpus, 0, GB)
    with agent_at(scripted.url, tmp_path, slots=4):
        wait_until(lambda: len({claim["slot"] for claim in scripted.claims}) == 4, what="four slots ask")
    asked = {claim["slot"]: (claim["gpu_index"], claim["free_memory_bytes"]) for claim in scripted.claims}
    assert asked == {0: (0, 80 * GB), 1: (1, 79 * GB), 2: (0, 80 * GB), 3: (1, 79 * GB)}


def test_a_gpu_that_strangers_use_is_left_alone(scripted: ScriptedDoor, gpus: Path, tmp_path: Path) -> None:
    tell(gpus, 38 * GB, 2 * GB)
    with agent_at(scripted.url, tmp_path, slots=2) as agent:
        wait_until(lambda: scripted.beats and foreign(scripted) == [38 * GB, 0], what="the report: 2 of 80 GB are below 5 %")
        assert "GPU 0: 38.0 of 80.0 GB taken by another process" in agent.said
        scripted.claims.clear()
        beats = len(scripted.beats)
        wait_until(lambda: len(scripted.beats) > beats + 10, what="ten more heartbeats")
        assert {claim["slot"] for claim in scripted.claims} == {1}
        tell(gpus, 0, 2 * GB)
        wait_until(lambda: any(claim["slot"] == 0 for claim in scripted.claims), what="slot 0 asks when they have left")
        wait_until(lambda: foreign(scripted) == [0, 0], what="the report")


def test_the_memory_of_an_own_trainer_is_not_foreign(scripted: ScriptedDoor, gpus: Path, tmp_path: Path) -> None:
    give(scripted, tmp_path, LONG)
    with agent_at(scripted.url, tmp_path, slots=2) as agent:
        wait_for_step(scripted, 1)
        used = (tmp_path / "slots").glob("*.gpus")
        assert len(list(used)) == 1
        tell(gpus, 60 * GB, 60 * GB)
        wait_until(lambda: sorted(foreign(scripted)) == [0, 60 * GB], what="the other GPU's is foreign, its own is not")
        assert agent.trainer().environ()["CUDA_VISIBLE_DEVICES"] in ("GPU-0", "GPU-1")
        scripted.order = "stop_and_discard"
        wait_until(lambda: scripted.finished, what="the end")


def test_a_gpu_that_is_lost_is_the_nodes(scripted: ScriptedDoor, gpus: Path, tmp_path: Path) -> None:
    give(scripted, tmp_path, "steps=300 step_ms=20 exit=1@150")
    with agent_at(scripted.url, tmp_path):
        wait_for_step(scripted, 2)
        tell(gpus, 0, 0, lost=0)
        wait_until(lambda: scripted.finished, what="the end")
    assert told(scripted)["cause"] == "node_trouble"
    assert "GPU-0 is not there any more" in told(scripted)["message"]
