"""Evaluations: when they come, what they say, and that they leave no trace."""

from pathlib import Path

import pytest

from tests.worker.qlora.runs import ended, losses, told, train, write_run
from worker.contract.events import (
    MetricsLogged,
    PhaseStarted,
    PlanMade,
)

pytestmark = pytest.mark.torch


def test_evaluation_at_steps_and_at_the_end(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, data={"eval_share": 0.25}, training={"max_steps": 5, "eval_steps": 2})
    assert train(run) == 0
    evaluated = [event.step for event in told(run, MetricsLogged) if event.eval_loss is not None]
    assert evaluated == [2, 4, 5]
    (plan,) = told(run, PlanMade)
    assert (plan.train_rows, plan.eval_rows) == (12, 4)
    assert (
        ended(run).results.eval_loss == [event.eval_loss for event in told(run, MetricsLogged) if event.eval_loss is not None][-1]
    )
    assert "Evaluating" in [event.phase for event in told(run, PhaseStarted)]


def test_evaluation_in_between_does_not_change_the_training(tmp_path: Path, tiny_model: Path) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes packs the weights anew at the first evaluation, in a form without gradients."""
    blocks = {"data": {"eval_share": 0.25}, "optimizer": {"learning_rate": 0.05}}
    with_it = write_run(tmp_path / "with", model=tiny_model, training={"max_steps": 6, "eval_steps": 2}, **blocks)
    without = write_run(tmp_path / "without", model=tiny_model, training={"max_steps": 6}, **blocks)
    assert train(with_it) == train(without) == 0
    norms = [[event.grad_norm for event in told(run, MetricsLogged) if event.loss is not None] for run in (with_it, without)]
    assert losses(with_it) == pytest.approx(losses(without), abs=1e-5)
    assert norms[0] == pytest.approx(norms[1], abs=1e-5)


def test_8_bits_train_on_a_cpu_and_an_evaluation_in_between_changes_nothing(tmp_path: Path, tiny_model: Path) -> None:
    blocks = {"quantization": {"kind": "bitsandbytes_8bit", "dtype": "float32"}, "data": {"eval_share": 0.2}}
    with_it = write_run(tmp_path / "with", model=tiny_model, training={"eval_steps": 1}, **blocks)
    without = write_run(tmp_path / "without", model=tiny_model, **blocks)
    assert train(with_it) == train(without) == 0
    assert losses(with_it) == losses(without)
    assert losses(with_it)[-1] < losses(with_it)[0] - 0.1
