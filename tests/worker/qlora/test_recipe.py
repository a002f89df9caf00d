"""A tiny random Llama trained for real on the CPU: what is told, in which order, and how long it goes on."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.worker.qlora.runs import ROWS, ended, events_of, losses, told, train, write_run
from worker.contract.events import (
    CheckpointSaved,
    LogWritten,
    MemorySampled,
    MetricsLogged,
    NoticeGiven,
    PhaseStarted,
    PlanMade,
)

pytestmark = pytest.mark.torch


def test_it_works(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    assert train(run) == 0
    assert [event.phase for event in told(run, PhaseStarted)] == [
        "Importing libraries",
        "Reading data",
        "Loading base model",
        "Adding the adapter",
        "Training",
        "Saving",
    ]
    assert isinstance(events_of(run)[0], PhaseStarted)
    assert [event.step for event in told(run, MetricsLogged)] == [1, 2, 3, 4]
    assert {event.step for event in told(run, MemorySampled)} == {0, 1, 2, 3, 4}
    results = ended(run).results
    assert ended(run).outcome == "finished"
    assert (results.steps, results.epochs) == (4, 1.0)
    assert (results.first_loss, results.final_loss) == (losses(run)[0], losses(run)[-1])
    assert results.tokens_seen == told(run, PlanMade)[0].train_tokens
    assert results.peak_memory_bytes > 10_000_000


def test_the_plan_says_what_runs(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    (plan,) = told(run, PlanMade)
    assert (plan.max_steps, plan.epochs, plan.train_rows, plan.eval_rows, plan.effective_batch) == (4, 1.0, 16, 0, 4)
    assert plan.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert plan.optim == "adamw_torch"
    assert "where each answer stands" in plan.mask
    assert 0 < plan.trained_tokens < plan.train_tokens
    assert plan.versions["transformers"]
    # r × (in + out) for each layer: q and o 64+64, k and v 64+32, gate and up 64+128, down 128+64
    assert plan.trainable_parameters == 2 * 4 * (2 * 128 + 2 * 96 + 3 * 192)
    assert plan.parameters == plan.trainable_parameters + base_parameters(tiny_model)


def base_parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        return sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118  # it is no mapping


def test_checkpoints_are_whole_and_two_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 6, "save_steps": 2})
    assert train(run) == 0
    assert [event.step for event in told(run, CheckpointSaved)] == [2, 4, 6]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    manifest = json.loads((run.checkpoints / "checkpoint-6" / "manifest.json").read_text())
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"} <= set(manifest["files"])
    for name, file in manifest["files"].items():
        content = (run.checkpoints / "checkpoint-6" / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"])
    assert not list((run.path / "checkpoints.part").iterdir())


def test_epochs_are_counted_in_steps(tmp_path: Path, tiny_model: Path) -> None:
    training = {"max_steps": None, "num_train_epochs": 1.5, "logging_steps": 4}
    run = write_run(tmp_path / "run", model=tiny_model, training=training)
    assert train(run) == 0
    assert told(run, PlanMade)[0].max_steps == 6
    assert [event.step for event in told(run, MetricsLogged)] == [4, 6]


def test_rows_that_are_cut_and_rows_that_are_left_out_are_told(tmp_path: Path, tiny_model: Path) -> None:
    late = {"messages": [{"role": "user", "content": "what is " * 60}, {"role": "assistant", "content": "two"}]}
    rows = b"".join(json.dumps(row).encode() + b"\n" for row in [*ROWS, late]) + b"{broken\n"
    run = write_run(tmp_path / "run", model=tiny_model, rows=rows)
    assert train(run) == 0
    notices = " ".join(event.text for event in told(run, NoticeGiven))
    assert "1 rows of the file were left out; the first is line 18" in notices
    assert "1 of 17 rows (5.9 %) are longer than 64 tokens" in notices
    assert "1 of 17 rows have no trained token" in notices
    assert (told(run, PlanMade)[0].train_rows, told(run, PlanMade)[0].cut_rows) == (16, 1)


def test_nothing_of_the_log_is_told_twice(tmp_path: Path, tiny_model: Path) -> None:
    """The agent makes log lines of stdout; the trainer writes none itself."""
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    assert not told(run, LogWritten)
