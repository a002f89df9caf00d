"""A run that is paused at a step and goes on: the agent's part, and what is compared afterwards."""

from typing import Any

import pytest

from tests.worker.qlora.runs import told, train
from worker.contract.events import MetricsLogged
from worker.contract.run_directory import RunDirectory


def points(run: RunDirectory) -> dict[tuple[int, str], float]:
    """Every number on the charts by step; of steps that were told twice the later."""
    found = {}
    for event in told(run, MetricsLogged):
        for name in ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_seen"):
            if (value := getattr(event, name)) is not None:
                found[event.step, name] = value
    return found


def pause_after(monkeypatch: pytest.MonkeyPatch, run: RunDirectory, *, step: int) -> None:
    """The agent's part: the word is there before the step ends, once."""
    from worker.qlora.progress import Progress

    def on_step_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step - 1:
            run.stop.write_text("pause")

    monkeypatch.setattr(Progress, "on_step_begin", on_step_begin)


def go_on(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.undo()
    run.stop.unlink(missing_ok=True)
    return train(run)
