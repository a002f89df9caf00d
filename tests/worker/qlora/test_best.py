"""The best checkpoint and early stopping: kept through rotation, interruptions and other machines."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.interruptions import go_on, pause_after, points
from tests.worker.qlora.runs import ROWS, ended, eval_losses, told, train, write_run
from worker.contract.events import CheckpointSaved, MetricsLogged, NoticeGiven, PlanMade
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
# The rate rises all the while: the eval loss falls up to step 6 (5.603) and is above it from there on (5.615 at step 8). Rates that
# are high from the start end the same way, but in steps so wild that the last digit of a sum moves the best one.
BLOCKS: dict[str, dict[str, Any]] = {
    "optimizer": {"learning_rate": 0.3, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 80},
    "data": {"eval_share": 0.25},
    "training": {"max_steps": 12, "eval_steps": 2, "save_steps": 2, "load_best_model_at_end": True},
}


def blocks(**training: Any) -> dict[str, dict[str, Any]]:
    return {**BLOCKS, "training": {**BLOCKS["training"], **training}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    run = write_run(tmp_path_factory.mktemp("best") / "run", model=tiny_model, rows=ROWS, **BLOCKS)
    assert train(run) == 0
    return run


def adapter(run: RunDirectory) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def lowest(run: RunDirectory) -> tuple[int, float]:
    found = eval_losses(run)
    step = min(found, key=lambda step: found[step])
    return step, found[step]


def test_the_result_is_the_checkpoint_with_the_lowest_eval_loss(tmp_path: Path, tiny_model: Path, whole: RunDirectory) -> None:
    """The same bytes as a run with the same schedule had at that step; rotation has long removed that checkpoint."""
    step, loss = lowest(whole)
    assert 2 < step < 10
    results = ended(whole).results
    assert (results.steps, results.best_step, results.eval_loss) == (12, step, loss)
    assert f"checkpoint-{step}" not in {path.name for path in whole.checkpoints.iterdir()}
    assert f"{loss:.4f} at step {step}" in (whole.adapter / "README.md").read_text()
    assert any(f"that of step {step}" in event.text for event in told(whole, NoticeGiven))
    again = write_run(tmp_path / "again", model=tiny_model, rows=ROWS, **blocks(load_best_model_at_end=False))
    with pytest.MonkeyPatch.context() as patch:
        pause_after(patch, again, step=step)
        assert train(again) == 0
    assert (again.checkpoints / f"checkpoint-{step}" / "adapter_model.safetensors").read_bytes() == adapter(whole)


def test_every_checkpoint_brings_the_best_so_far(whole: RunDirectory) -> None:
    from safetensors.torch import load_file

    newest = whole.checkpoints / "checkpoint-12"
    assert (newest / "best.safetensors").is_file()
    best, last = load_file(newest / "best.safetensors"), load_file(newest / "adapter_model.safetensors")
    assert len(best) == len(last)
    assert any(
        not bool((best[name].flatten()[:5] == value.flatten()[:5]).all()) for name, value in zip(best, last.values(), strict=True)
    )


@pytest.mark.parametrize("step", [3, 4, 9, 10])
def test_a_run_that_goes_on_elsewhere_still_has_the_best(
    tmp_path: Path, tiny_model: Path, whole: RunDirectory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Only the checkpoint goes along: the new run directory has nothing else of the old one. Off and on an evaluation."""
    first = write_run(tmp_path / "first", model=tiny_model, rows=ROWS, **BLOCKS)
    pause_after(monkeypatch, first, step=step)
    assert train(first) == 0
    monkeypatch.undo()
    run = write_run(tmp_path / "elsewhere", model=tiny_model, rows=ROWS, **BLOCKS)
    shutil.copytree(first.checkpoints / f"checkpoint-{step}", run.checkpoints / f"checkpoint-{step}")
    assert train(run) == 0
    assert {**points(first), **points(run)} == points(whole)
    assert adapter(run) == adapter(whole)
    assert ended(run).results.best_step == lowest(whole)[0]


def test_a_best_that_is_torn_makes_its_checkpoint_unusable(tmp_path: Path, whole: RunDirectory) -> None:
    import json

    from worker.qlora.checkpoint import Unusable, verify

    folder = tmp_path / "checkpoint-12"
    shutil.copytree(whole.checkpoints / "checkpoint-12", folder)
    settings = json.loads((folder / "manifest.json").read_bytes())["settings"]
    (folder / "best.safetensors").unlink()
    with pytest.raises(Unusable) as found:
        verify(folder, settings=settings)
    assert found.value.file == "best.safetensors"


def test_a_run_that_stops_improving_ends_early(tmp_path: Path, tiny_model: Path, whole: RunDirectory) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **blocks(max_steps=12, early_stopping_patience=1))
    assert train(run) == 0
    step, _ = lowest(whole)
    results = ended(run).results
    assert (ended(run).outcome, results.steps, results.best_step) == ("finished", step + 2, step)
    assert eval_losses(run) == {at: loss for at, loss in eval_losses(whole).items() if at <= step + 2}
    assert adapter(run) == adapter(whole)
    assert any(f"Stopped early after step {step + 2}" in event.text for event in told(run, NoticeGiven))


def test_an_improvement_below_the_threshold_is_none(tmp_path: Path, tiny_model: Path) -> None:
    """Three evaluations without an improvement by 10: the run ends at the fourth; without the best asked for, with its last weights."""
    training = {"early_stopping_patience": 3, "early_stopping_threshold": 10.0, "load_best_model_at_end": False}
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **blocks(**training))
    assert train(run) == 0
    assert (ended(run).results.steps, ended(run).results.best_step) == (8, None)
    assert not list(run.checkpoints.glob("*/best.safetensors"))
    assert ended(run).results.eval_loss == eval_losses(run)[8]


@pytest.mark.parametrize("step", [6, 8])
def test_a_pause_does_not_change_where_it_ends(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Paused at the best step, and at the very evaluation that ends the run: then nothing is left but to save."""
    early = blocks(early_stopping_patience=1)
    whole = write_run(tmp_path / "whole", model=tiny_model, rows=ROWS, **early)
    assert train(whole) == 0
    assert ended(whole).results.steps == 8
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **early)
    pause_after(monkeypatch, run, step=step)
    assert train(run) == 0
    assert ended(run).outcome == "checkpointed"
    assert go_on(run, monkeypatch) == 0
    assert points(run) == points(whole)
    assert (ended(run).results.steps, adapter(run)) == (8, adapter(whole))
    assert [plan.resumed_from_step for plan in told(run, PlanMade)] == [None, step]


def test_a_plateau_schedule_goes_on_as_it_was(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"patience": 0, "threshold": 0.99}
    changed = {
        **BLOCKS,
        "optimizer": {"learning_rate": 0.1, "lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": given},
    }
    whole = write_run(tmp_path / "whole", model=tiny_model, rows=ROWS, **changed)
    assert train(whole) == 0
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **changed)
    pause_after(monkeypatch, run, step=4)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert points(run) == points(whole)
    rates = [event.learning_rate for event in told(whole, MetricsLogged) if event.learning_rate is not None]
    assert rates[0] > rates[4] > rates[-1]


def test_other_evaluations_are_another_run_when_they_decide(tmp_path: Path, tiny_model: Path, whole: RunDirectory) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **blocks(eval_steps=3))
    shutil.copytree(whole.checkpoints / "checkpoint-10", run.checkpoints / "checkpoint-10")
    assert train(run) == 1
    assert not told(run, CheckpointSaved)
    assert "training.eval_steps was 2 and is 3" in run.events.read_text()
