"""Pause, drain and being cut off: the trainer saves a checkpoint, the dashboard gets it, and the attempt says why it ended."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.agent.attempts import paced, policy, resume_of, start
from tests.worker.agent.scripted_door import ScriptedDoor, refusal
from worker.agent.draining import start_draining, stop_draining

LONG = "steps=5000 step_ms=10"


def test_a_pause_saves_sends_and_says_so(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, LONG)
    running.wait_for_step(3)
    scripted.order = "pause"
    end = running.wait()
    assert end == {"outcome": "checkpointed", "step": scripted.kept[-1], "why": "asked"}
    assert end["step"] >= 3
    files = scripted.checkpoints[end["step"]]
    assert set(files) == {"manifest.json", "state.json", "adapter_model.safetensors"}
    assert json.loads(files["state.json"])["step"] == end["step"]
    assert scripted.said("ended")[-1]["outcome"] == "checkpointed"


def test_a_paused_run_goes_on_and_ends_as_if_nothing_had_been(scripted: ScriptedDoor, tmp_path: Path) -> None:
    start(scripted, tmp_path / "undisturbed", "steps=40 step_ms=1").wait()
    expected = dict(scripted.files)
    paused = start(scripted, tmp_path / "here", "steps=40 step_ms=30")
    paused.wait_for_step(5)
    scripted.order = "pause"
    step = paused.wait()["step"]
    scripted.order, scripted.resume = "continue", scripted.checkpoints[step]
    first = len(scripted.stored)
    scripted.stored.clear()
    end = start(
        scripted, tmp_path / "elsewhere", "steps=40 step_ms=1", number=2, resume=resume_of(scripted.resume, step=step)
    ).wait()
    assert end["outcome"] == "finished"
    assert first
    assert scripted.files == expected, "the adapter of the undisturbed run, byte by byte"
    assert scripted.said("plan")[0]["resumed_from_step"] == step
    assert [event["step"] for event in scripted.said("metrics")] == list(range(step + 1, 41))


def test_a_pause_before_training_keeps_what_there_was(scripted: ScriptedDoor, tmp_path: Path) -> None:
    scripted.order, scripted.dataset = "pause", b""  # so that fetching takes until the order has arrived
    assert start(scripted, tmp_path, LONG).wait() == {"outcome": "checkpointed", "step": 0, "why": "asked"}


def test_a_pause_that_is_not_obeyed_falls_back_to_the_last_checkpoint(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, f"{LONG} save=5 deaf=1", pace=paced(stop_seconds=0.5))
    wait_until(lambda: scripted.kept, what="a checkpoint")
    scripted.order = "pause"
    end = running.wait()
    assert (end["outcome"], end["why"]) == ("checkpointed", "asked")
    assert end["step"] == scripted.kept[-1]
    assert any("did not stop in time" in line for line in scripted.log)


def test_a_cancel_with_save_while_pausing_makes_an_adapter(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, f"{LONG} slow_stop_ms=600")
    running.wait_for_step(2)
    scripted.order = "pause"
    wait_until(lambda: running.run.stop.exists() and running.run.stop.read_text() == "pause", what="the word to pause")
    scripted.order = "stop_and_save"
    end = running.wait()
    assert end["outcome"] == "stopped_saved"
    assert "adapter_model.safetensors" in scripted.files


def test_a_cancel_that_discards_wins_over_a_pause(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, f"{LONG} slow_stop_ms=2000")
    running.wait_for_step(2)
    scripted.order = "pause"
    wait_until(running.run.stop.exists, what="the word to pause")
    scripted.order = "stop_and_discard"
    assert running.wait() == {"outcome": "stopped_discarded"}


def test_a_draining_machine_gives_its_job_back(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, LONG, pace=paced(drain_seconds=10))
    running.wait_for_step(3)
    start_draining(tmp_path, seconds=10)
    end = running.wait(10)
    assert (end["outcome"], end["why"]) == ("checkpointed", "draining")
    assert end["step"] == scripted.kept[-1] >= 3


def test_draining_takes_no_longer_than_it_may(scripted: ScriptedDoor, tmp_path: Path) -> None:
    """A trainer that does not listen, and a dashboard that takes no file: the last checkpoint that arrived has to do."""
    running = start(scripted, tmp_path, f"{LONG} save=5 deaf=1", pace=paced(drain_seconds=6, grace_seconds=0.3))
    wait_until(lambda: scripted.kept, what="a checkpoint")
    scripted.put_answers = [(503, {})] * 1000
    sent, began = scripted.kept[-1], time.monotonic()
    start_draining(tmp_path, seconds=6)
    end = running.wait(10)
    assert time.monotonic() - began < 7
    assert end["outcome"] == "checkpointed"
    assert end["why"] == "draining"
    assert end["step"] == scripted.kept[-1] >= sent
    assert any("did not reach the dashboard" in line for line in scripted.log)


def test_a_draining_machine_does_not_wait_for_a_dashboard_that_stops_too(
    scripted: ScriptedDoor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = start(scripted, tmp_path, LONG, pace=paced(drain_seconds=60))
    running.wait_for_step(3)
    scripted.is_away = True
    start_draining(tmp_path, seconds=60)
    assert running.wait(20) == {}
    assert "could not be given back" in caplog.text
    assert list(running.run.checkpoints.iterdir()), "kept for the next attempt on this machine"


@pytest.fixture
def cut_off(scripted: ScriptedDoor, tmp_path: Path) -> Any:
    """A run whose dashboard went away for longer than the pool's limit."""
    running = start(scripted, tmp_path, LONG, policy=policy(offline_limit_seconds=1))
    running.wait_for_step(3)
    scripted.is_away = True
    wait_until(lambda: any(running.run.checkpoints.glob("checkpoint-*")), what="a checkpoint")
    return running


def test_a_machine_that_is_cut_off_for_too_long_pauses_and_tells_later(scripted: ScriptedDoor, cut_off: Any) -> None:
    wait_until(lambda: '"outcome": "checkpointed"' in cut_off.run.events.read_text(), what="the trainer's last word")
    assert cut_off.thread.is_alive(), "it waits for the dashboard"
    assert not scripted.finished
    scripted.is_away = False
    end = cut_off.wait(30)
    assert (end["outcome"], end["why"], end["step"]) == ("checkpointed", "offline", scripted.kept[-1])
    steps = [event["step"] for event in scripted.said("metrics")]
    assert steps == list(range(1, end["step"] + 1)), "each event once, in order"


def test_what_was_given_away_meanwhile_is_thrown_away_and_said(
    scripted: ScriptedDoor, cut_off: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.refuse = lambda body: refusal(409, "stale_attempt")
    scripted.put_answers = [refusal(409, "stale_attempt")] * 10
    scripted.is_away = False
    assert cut_off.wait(30) == {}
    assert "was given away meanwhile" in caplog.text
    assert not scripted.kept


def test_a_short_outage_stops_nothing(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, "steps=150 step_ms=10")
    running.wait_for_step(3)
    scripted.is_away = True
    running.wait_for_step(60)
    scripted.is_away = False
    assert running.wait()["outcome"] == "finished"


def test_draining_is_forgotten_at_the_next_start(tmp_path: Path) -> None:
    start_draining(tmp_path, seconds=1)
    stop_draining(tmp_path)
    stop_draining(tmp_path)
    assert not (tmp_path / "draining").exists()
