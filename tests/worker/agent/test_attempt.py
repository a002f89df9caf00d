"""One attempt against a door that speaks the contract and misbehaves: what is uploaded, what is said, what is left behind."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.agent.attempts import paced, start
from tests.worker.agent.orders import DATASET
from tests.worker.agent.scripted_door import ScriptedDoor, refusal
from worker.agent.run_directories import prune


@pytest.fixture
def door(scripted: ScriptedDoor) -> ScriptedDoor:
    return scripted


def run(door: ScriptedDoor, data: Path, script: str = "steps=3", **changes: Any) -> dict[str, Any]:
    """Runs an attempt to its end; returns the last Finish, or nothing."""
    start(door, data, script, pace=paced(stop_seconds=0.5), **changes).wait()
    return door.finished[-1] if door.finished else {}


def kinds(door: ScriptedDoor) -> list[str]:
    return [door.stored[seq]["kind"] for seq in sorted(door.stored)]


def test_it_works(door: ScriptedDoor, tmp_path: Path) -> None:
    finish = run(door, tmp_path)
    assert finish["end"]["outcome"] == "finished"
    assert finish["end"]["results"]["steps"] == 3
    assert finish["last_seq"] == door.acked, "all lines were stored before the finish"
    assert {file["name"]: file["sha256"] for file in finish["end"]["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in door.files.items()
    }
    assert set(door.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert kinds(door).count("metrics") == 3


def test_the_order_is_written_without_the_hub_token(door: ScriptedDoor, tmp_path: Path) -> None:
    run(door, tmp_path, hub_token="hf_canary")
    folder = tmp_path / "runs" / "job-42-attempt-1"
    assert json.loads((folder / "order.json").read_text())["job_id"] == 42
    assert all(b"hf_canary" not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_dataset_with_other_bytes_is_fetched_again(door: ScriptedDoor, tmp_path: Path) -> None:
    door.refuse = lambda body: _mend(door, body)
    door.dataset = DATASET[:-3]
    assert run(door, tmp_path)["end"]["outcome"] == "finished"


def _mend(door: ScriptedDoor, body: dict[str, Any]) -> None:
    """From the second batch on, the door has the right bytes."""
    if len(door.posts) > 1:
        door.dataset = DATASET


def test_a_model_that_is_not_here_fails_before_training(door: ScriptedDoor, tmp_path: Path) -> None:
    spec = {"base_model": {"kind": "folder", "name_or_path": "/nowhere/at/all"}, "training": {"max_steps": 3}}
    end = run(door, tmp_path, spec=spec)["end"]
    assert (end["cause"], end["message"]) == ("model_unavailable", "There is no folder /nowhere/at/all on this worker.")
    assert kinds(door)[-1] == "failed"
    assert "metrics" not in kinds(door)


def test_a_stop_before_training_starts_no_trainer(door: ScriptedDoor, tmp_path: Path) -> None:
    door.order = "stop_and_save"
    door.dataset = b""  # so that fetching takes until the order has arrived
    assert run(door, tmp_path)["end"] == {"outcome": "stopped_discarded"}
    assert door.stored[door.acked]["text"] == "Stopped before there was anything to save."


def test_a_trainer_that_ignores_a_stop_and_save_is_ended_and_said(door: ScriptedDoor, tmp_path: Path) -> None:
    def then_stop(body: dict[str, Any]) -> None:
        if any(event["kind"] == "metrics" for event in body["events"]):
            door.order = "stop_and_save"

    door.refuse = then_stop
    end = run(door, tmp_path, "steps=10000 step_ms=10 deaf=1")["end"]
    assert (end["outcome"], end["cause"], end["exit_code"]) == ("failed", "trainer_stalled", -9)
    assert "did not stop within 0.5 s after it was asked to save at step" in end["message"]


def test_a_lost_attempt_keeps_nothing_and_says_nothing(door: ScriptedDoor, tmp_path: Path) -> None:
    door.refuse = lambda body: (
        refusal(409, "stale_attempt") if any(event["kind"] == "metrics" for event in body["events"]) else None
    )
    assert run(door, tmp_path, "steps=10000 step_ms=10") == {}
    assert door.files == {}
    assert not (tmp_path / "runs" / "job-42-attempt-1" / "dataset.jsonl").exists()


def test_an_upload_is_tried_again(door: ScriptedDoor, tmp_path: Path) -> None:
    door.put_answers = ["hang up", refusal(422, "wrong_hash")]
    assert run(door, tmp_path, "steps=1 file_kb=300")["end"]["outcome"] == "finished"
    assert len(door.files["adapter_model.safetensors"]) > 300 * 1024


def test_an_upload_that_is_never_taken_fails_the_job(door: ScriptedDoor, tmp_path: Path) -> None:
    door.put_answers = [refusal(507, "disk_full", "The dashboard has 3 MiB of disk left.")]
    end = run(door, tmp_path, "steps=1")["end"]
    assert (end["outcome"], end["cause"]) == ("failed", "upload_failed")
    assert "3 MiB of disk left" in end["message"]


def test_a_finish_that_is_not_heard_is_said_again(door: ScriptedDoor, tmp_path: Path) -> None:
    door.finish_answers = ["hang up", (503, {}), refusal(409, "events_missing")]
    assert run(door, tmp_path, "steps=1")["end"]["outcome"] == "finished"
    assert len(door.finished) == 1


def test_a_finish_that_is_refused_becomes_a_failure(door: ScriptedDoor, tmp_path: Path) -> None:
    door.finish_answers = [refusal(422, "bad_artifact", "adapter_config.json has not arrived.")]
    end = run(door, tmp_path, "steps=1")["end"]
    assert (end["cause"], end["message"]) == (
        "upload_failed",
        "The dashboard did not take the adapter: adapter_config.json has not arrived.",
    )


def test_what_a_killed_agent_left_is_made_small(tmp_path: Path) -> None:
    for number in range(1, 5):
        folder = tmp_path / "runs" / f"job-{number}-attempt-1"
        (folder / "checkpoints" / "checkpoint-5").mkdir(parents=True)
        (folder / "events.jsonl").write_text("{}\n")
        if number == 4:
            (folder / "alive").touch()
    prune(tmp_path, keep=2)
    left = {path.name: sorted(each.name for each in path.iterdir()) for path in (tmp_path / "runs").iterdir()}
    assert left["job-4-attempt-1"] == ["alive", "checkpoints", "events.jsonl"], "in use"
    assert sorted(left.values())[1:] == [["events.jsonl"], ["events.jsonl"]], "as old as can be: nobody comes back for them"
