"""Agent and real trainer together: paused on one machine, gone on with on another, the same losses as a run that nobody disturbed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.agent.attempts import Running, paced, resume_of, start
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.qlora.runs import EXACT, ROWS, make_tiny_model

CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
STEPS = 300
PATIENT = paced(stop_seconds=120, grace_seconds=10)


@pytest.fixture
def order(scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.delenv("NIBBLE_TRAINER_MODULE")
    scripted.dataset = CONTENT
    reference = {"kind": "folder", "name_or_path": str(make_tiny_model(tmp_path / "tiny-llama"))}
    digest = hashlib.sha256(CONTENT).hexdigest()
    dataset = {"version_id": 1, "sha256": digest, "size_bytes": len(CONTENT), "rows": len(ROWS), "format": "messages"}
    training = {**EXACT["training"], "max_steps": STEPS}
    return {"spec": {"base_model": reference, **EXACT, "training": training}, "dataset": dataset, "job_name": "Tiny"}


def go(door: ScriptedDoor, data: Path, order: dict[str, Any], **changes: Any) -> Running:
    return start(door, data, "", pace=PATIENT, **{**order, **changes})


def losses(door: ScriptedDoor) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in door.said("metrics") if "loss" in event}


def wait_for_step_3(scripted: ScriptedDoor, running: Running) -> None:
    wait_until(
        lambda: any(step >= 3 for step in losses(scripted)),
        what="step 3",
        seconds=240,
        alive=running.thread.is_alive,
        told=lambda: scripted.log[-30:],
    )


@pytest.mark.torch
def test_a_pause_changes_nothing(scripted: ScriptedDoor, tmp_path: Path, order: dict[str, Any]) -> None:
    undisturbed = go(scripted, tmp_path / "undisturbed", order)
    assert undisturbed.wait(240)["outcome"] == "finished", scripted.log[-20:]
    expected, weights = losses(scripted), scripted.files["adapter_model.safetensors"]
    scripted.stored.clear()
    paused = go(scripted, tmp_path / "here", order)
    wait_for_step_3(scripted, paused)
    scripted.order = "pause"
    end = paused.wait(240)
    assert (end["outcome"], end["why"]) == ("checkpointed", "asked"), (end, scripted.log[-20:])
    before, step = losses(scripted), end["step"]
    assert 3 <= step < STEPS
    scripted.stored.clear()
    scripted.order, scripted.resume = "continue", scripted.checkpoints[step]
    resumed = go(scripted, tmp_path / "elsewhere", order, number=2, resume=resume_of(scripted.resume, step=step))
    assert resumed.wait(240)["outcome"] == "finished", scripted.log[-20:]
    assert scripted.said("plan")[0]["resumed_from_step"] == step
    assert {**before, **losses(scripted)} == expected
    assert scripted.files["adapter_model.safetensors"] == weights, "byte by byte"


@pytest.mark.torch
def test_two_processes_pause_and_go_on(scripted: ScriptedDoor, tmp_path: Path, order: dict[str, Any]) -> None:
    """Through gloo on the CPU: paused with two, gone on with two, the losses of a run in one process that nobody disturbed."""
    order["spec"]["training"] |= {"max_steps": 60}
    assert go(scripted, tmp_path / "alone", order).wait(240)["outcome"] == "finished", scripted.log[-20:]
    expected = losses(scripted)
    scripted.stored.clear()
    order |= {"spec": order["spec"] | {"plan": {"num_processes": 2}}, "slots": (0, 1)}
    paused = go(scripted, tmp_path / "here", order)
    wait_for_step_3(scripted, paused)
    scripted.order = "pause"
    end = paused.wait(240)
    assert end["outcome"] == "checkpointed", (end, scripted.log[-20:])
    before, step = losses(scripted), end["step"]
    scripted.stored.clear()
    scripted.order, scripted.resume = "continue", scripted.checkpoints[step]
    resumed = go(scripted, tmp_path / "elsewhere", order, number=2, resume=resume_of(scripted.resume, step=step))
    assert resumed.wait(240)["outcome"] == "finished", scripted.log[-20:]
    assert "shared out to 2 processes" in scripted.said("plan")[0]["execution"]["reasons"][0]
    together = {**before, **losses(scripted)}
    assert together == pytest.approx(expected, rel=1e-5)
