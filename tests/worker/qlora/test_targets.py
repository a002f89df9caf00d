"""Which layers get an adapter, and of which rank it may be."""

from pathlib import Path

import pytest

from tests.worker.qlora.runs import failed, told, train, write_run
from worker.contract.events import (
    PlanMade,
)

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("target", "missing"), [(["q_proj", "c_attn"], "c_attn"), (["nothing_here"], "nothing_here"), (["model"], "model")]
)
def test_target_modules_that_are_not_there_are_named(tmp_path: Path, tiny_model: Path, target: list[str], missing: str) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": target})
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert f"no layer called {missing}." in failed(run).message
    assert "q_proj, k_proj, v_proj" in failed(run).advice
    assert not run.adapter.exists()


def test_target_modules_that_are_given_are_the_ones_trained(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": ["q_proj", "v_proj"]})
    assert train(run) == 0
    assert told(run, PlanMade)[0].target_modules == ("q_proj", "v_proj")
    assert told(run, PlanMade)[0].trainable_parameters == 2 * 4 * (128 + 96)
