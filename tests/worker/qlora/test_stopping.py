"""The stop words: what is kept of a run that is stopped."""

import threading
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.qlora.runs import FILES, ended, told, train, write_run
from worker.contract.events import (
    MetricsLogged,
)
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch


def stop_after(run: RunDirectory, *, step: int, word: str) -> threading.Thread:
    """The agent's part: writes the word once the step is told."""

    def wait_and_stop() -> None:
        reached = lambda: run.events.exists() and any(event.step >= step for event in told(run, MetricsLogged))  # noqa: E731
        wait_until(reached, what=f"step {step}", seconds=120)
        part = run.path / "stop.part"
        part.write_text(word)
        part.rename(run.stop)

    thread = threading.Thread(target=wait_and_stop, daemon=True)
    thread.start()
    return thread


def test_stop_and_save_keeps_what_was_learnt(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 5000, "save_steps": 4000})
    agent = stop_after(run, step=3, word="stop_and_save")
    assert train(run) == 0
    agent.join()
    assert ended(run).outcome == "stopped_saved"
    assert 3 <= ended(run).results.steps < 5000
    assert {path.name for path in run.adapter.iterdir()} == FILES
    assert f"{ended(run).results.steps} (" in (run.adapter / "README.md").read_text()


def test_stop_and_discard_saves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 5000})
    agent = stop_after(run, step=3, word="stop_and_discard")
    assert train(run) == 0
    agent.join()
    assert ended(run).outcome == "stopped_discarded"
    assert not run.adapter.exists()


def test_a_stop_before_the_first_step_ends_the_run(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    run.stop.write_text("stop_and_save")
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps) == ("stopped_discarded", 0)
    assert not told(run, MetricsLogged)
