"""The checkpoint that an order names is there before the trainer starts: from this machine's own disk, else from the dashboard."""

import os
from pathlib import Path

import pytest

from tests.fake_trainer.files import flip_a_byte
from tests.waiting import wait_until
from tests.worker.agent.attempts import Running, resume_of, start
from tests.worker.agent.scripted_door import ScriptedDoor, refusal
from worker.agent.run_directories import prune

SCRIPT = "steps=30 step_ms=10 save=5"


@pytest.fixture
def lost(scripted: ScriptedDoor, tmp_path: Path) -> Running:
    """An attempt whose lease ran out after a checkpoint had arrived; its files are on this machine still."""
    running = start(scripted, tmp_path, "steps=3000 step_ms=10 save=5 #30")
    wait_until(lambda: scripted.kept, what="a checkpoint")
    scripted.order = "pause"
    running.wait()
    scripted.order = "continue"
    scripted.resume = dict(scripted.checkpoints[scripted.kept[-1]])
    scripted.stored.clear()
    scripted.put.clear()
    return running


def resume(scripted: ScriptedDoor) -> dict[str, object]:
    return resume_of(scripted.resume, step=scripted.kept[-1])


def again(scripted: ScriptedDoor, data: Path, *, steps: int = 5) -> Running:
    last = scripted.kept[-1] + steps
    return start(scripted, data, f"steps={last} step_ms=10", number=2, resume=resume(scripted))


def test_it_is_linked_from_an_older_run_of_this_machine(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    kept = lost.run.checkpoints / f"checkpoint-{scripted.kept[-1]}"
    assert {path.name for path in kept.iterdir()} == {"manifest.json", "state.json", "adapter_model.safetensors"}
    scripted.resume_answers = [refusal(404, "gone")]
    running = again(scripted, tmp_path)
    assert running.wait()["outcome"] == "finished"
    assert scripted.resume_answers, "nothing was downloaded"
    assert f"Going on from the checkpoint of step {scripted.kept[-1]}, kept on this machine." in scripted.log
    assert scripted.said("plan")[0]["resumed_from_step"] == scripted.kept[-1]
    assert not lost.run.checkpoints.exists(), "the new attempt has its own"


def test_it_is_downloaded_elsewhere(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    running = again(scripted, tmp_path / "other")
    assert running.wait()["outcome"] == "finished"
    assert f"Going on from the checkpoint of step {scripted.kept[-1]}, fetched." in scripted.log
    assert scripted.said("plan")[0]["resumed_from_step"] == scripted.kept[-1]
    assert not any(place.startswith("checkpoints") for place in scripted.put), "the dashboard has it"


def test_a_local_one_with_another_byte_is_not_taken(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    flip_a_byte(lost.run.checkpoints / f"checkpoint-{scripted.kept[-1]}" / "adapter_model.safetensors")
    assert again(scripted, tmp_path).wait()["outcome"] == "finished"
    assert f"Going on from the checkpoint of step {scripted.kept[-1]}, fetched." in scripted.log


def test_a_download_is_tried_again(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    scripted.resume_answers = ["hang up", (200, {}), (503, {})]
    assert again(scripted, tmp_path / "other").wait()["outcome"] == "finished"


def test_bytes_that_never_fit_their_hash_end_the_attempt(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    scripted.resume_answers = [(200, {})] * 3
    end = again(scripted, tmp_path / "other").wait()
    assert (end["outcome"], end["cause"]) == ("failed", "checkpoint_unusable")
    assert "did not arrive as it was sent in 3 tries" in end["message"]
    assert not (tmp_path / "other" / "runs" / "job-42-attempt-2" / "checkpoints").exists()


def test_a_checkpoint_that_is_gone_ends_the_attempt(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    scripted.resume_answers = [refusal(404, "checkpoint_gone", "The checkpoint was removed.")]
    end = again(scripted, tmp_path / "other").wait()
    assert (end["cause"], end["message"]) == (
        "checkpoint_unusable",
        f"The checkpoint of step {scripted.kept[-1]} could not be fetched: The checkpoint was removed.",
    )


def test_a_checkpoint_without_a_manifest_is_refused(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    del scripted.resume["manifest.json"]
    end = again(scripted, tmp_path).wait()
    assert end["cause"] == "checkpoint_unusable"
    assert "it has no manifest.json" in end["message"]


def test_a_cancel_with_save_before_the_trainer_runs_makes_an_adapter(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    scripted.order = "stop_and_save"
    end = again(scripted, tmp_path, steps=1000).wait()
    assert end["outcome"] == "stopped_saved"
    assert end["results"]["steps"] == scripted.kept[-1] + 1


def test_a_pause_before_the_trainer_runs_keeps_the_step(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    scripted.order, scripted.dataset = "pause", b""
    assert again(scripted, tmp_path).wait() == {"outcome": "checkpointed", "step": scripted.kept[-1], "why": "asked"}


def test_the_newest_checkpoint_stays_a_day(scripted: ScriptedDoor, lost: Running, tmp_path: Path) -> None:
    assert len(list(lost.run.checkpoints.iterdir())) == 1
    prune(tmp_path, keep=5)
    assert lost.run.checkpoints.exists()
    os.utime(lost.run.alive, (0, 0))
    prune(tmp_path, keep=5)
    assert lost.run.path.exists()
    assert not lost.run.checkpoints.exists()


def test_a_run_that_ended_well_keeps_none(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, SCRIPT)
    assert running.wait()["outcome"] == "finished"
    assert not running.run.checkpoints.exists()
