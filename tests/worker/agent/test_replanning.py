"""CUDA ran out of memory: a new trainer of the same attempt goes on with a smaller plan, until nothing is smaller."""

import json
from pathlib import Path
from typing import Any

from tests.worker.agent.attempts import start
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.agent.tiny_model import write_model

LARGE = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "activation_checkpointing": False}


def run(scripted: ScriptedDoor, data: Path, script: str, **training: Any) -> dict[str, Any]:
    model = write_model(data / "model")
    spec = {"base_model": {"kind": "folder", "name_or_path": str(model)}, "training": {"max_steps": 3, **LARGE, **training}}
    return start(scripted, data, script, spec=spec).wait()


def plans(scripted: ScriptedDoor) -> list[tuple[int, int, bool]]:
    """Rows a pass, passes a step, activation checkpointing of each trainer that started."""
    return [(p["rows_a_pass"], p["passes_a_step"], p["activation_checkpointing"]) for p in scripted.said("plan")]


def test_half_the_rows_are_enough(scripted: ScriptedDoor, tmp_path: Path) -> None:
    assert run(scripted, tmp_path, "steps=5 oom_rows=2")["outcome"] == "finished"
    assert plans(scripted) == [(4, 2, False), (2, 4, False)]
    (told,) = scripted.said("replanned")
    assert told["before"]["per_device_train_batch_size"] == 4
    assert told["after"] == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "activation_checkpointing": False}
    assert (told["from_step"], told["why"]) == (0, "CUDA ran out of memory with 4 rows a pass.")
    notice = "a new trainer goes on from the beginning with 2 rows a pass, 4 passes a step, without activation checkpointing"
    assert any(notice in text for text in scripted.log)


def test_kto_keeps_its_rows_a_pass(scripted: ScriptedDoor, tmp_path: Path) -> None:
    """Its KL term is over the rows of one pass: fewer of them would be another training."""
    model = write_model(tmp_path / "model")
    spec = {
        "base_model": {"kind": "folder", "name_or_path": str(model)},
        "objective": {"kind": "kto"},
        "training": {"max_steps": 3, **LARGE},
    }
    ended = start(scripted, tmp_path, "steps=5 oom_rows=2", spec=spec).wait()
    assert ended["outcome"] == "failed"
    assert plans(scripted) == [(4, 2, False), (4, 2, True)]


def test_it_begins_at_what_the_trainer_chose(scripted: ScriptedDoor, tmp_path: Path) -> None:
    """A packed run takes the whole effective batch in one pass, whatever was asked for."""
    assert run(scripted, tmp_path, "steps=5 rows=8 oom_rows=2")["outcome"] == "finished"
    assert plans(scripted) == [(8, 1, False), (4, 2, False), (4, 2, True), (2, 4, True)]
    assert scripted.said("replanned")[0]["before"]["per_device_train_batch_size"] == 8


def test_it_goes_on_from_the_last_checkpoint(scripted: ScriptedDoor, tmp_path: Path) -> None:
    assert run(scripted, tmp_path, "steps=12 save=5 oom_rows=3 oom_at=8")["outcome"] == "finished"
    assert [event["from_step"] for event in scripted.said("replanned")] == [5]
    assert [plan.get("resumed_from_step") for plan in scripted.said("plan")] == [None, 5]
    assert [event["step"] for event in scripted.said("metrics")] == [*range(1, 8), *range(6, 13)]


def test_the_result_is_that_of_the_plan_that_was_asked_for(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run(scripted, tmp_path / "a", "steps=12 save=5")
    expected = scripted.files["adapter_model.safetensors"]
    run(scripted, tmp_path / "b", "steps=12 save=5 oom_rows=1 oom_at=8")
    assert scripted.files["adapter_model.safetensors"] == expected


def test_then_activation_checkpointing_then_fewer_rows(scripted: ScriptedDoor, tmp_path: Path) -> None:
    assert run(scripted, tmp_path, "steps=3 oom_rows=1 oom_needs_ckpt=1")["outcome"] == "finished"
    assert plans(scripted) == [(4, 2, False), (2, 4, False), (2, 4, True), (1, 8, True)]


def test_when_nothing_is_smaller_the_job_fails_with_what_was_tried(scripted: ScriptedDoor, tmp_path: Path) -> None:
    end = run(scripted, tmp_path, "steps=3 oom_rows=1 oom_needs_ckpt=1 fail=out_of_memory@2")
    assert (end["outcome"], end["cause"], end["exit_code"], end["step"]) == ("failed", "out_of_memory", 1, 2)
    assert end["message"] == (
        "The script asked for this failure. Tried: "
        "4 rows a pass, 2 passes a step, without activation checkpointing; then "
        "2 rows a pass, 4 passes a step, without activation checkpointing; then "
        "2 rows a pass, 4 passes a step, with activation checkpointing; then "
        "1 row a pass, 8 passes a step, with activation checkpointing."
    )


def test_another_failure_of_the_next_trainer_is_told_as_such(scripted: ScriptedDoor, tmp_path: Path) -> None:
    """The last word of the trainer before must not stand for it."""
    end = run(scripted, tmp_path, "steps=9 oom_rows=2 exit=3@4")
    assert (end["cause"], end["exit_code"]) == ("trainer_killed", 3)


def test_other_failures_are_not_tried_again(scripted: ScriptedDoor, tmp_path: Path) -> None:
    end = run(scripted, tmp_path, "steps=9 nan=3")
    assert (end["cause"], end["step"], end["rows"]) == ("diverged", 3, [2, 1])
    assert len(plans(scripted)) == 1


def test_the_plan_lies_in_the_run_directory(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run(scripted, tmp_path, "steps=5 oom_rows=2")
    written = json.loads((tmp_path / "runs" / "job-42-attempt-1" / "pass_plan.json").read_text())
    assert written == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "activation_checkpointing": False}
