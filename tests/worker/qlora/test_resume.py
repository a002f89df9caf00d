"""A run that was interrupted and goes on is the same run: every logged loss and every byte of the adapter.

Exact on the CPU, with dropout, two passes a step, evaluations in between and a smaller last batch in each of two epochs.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.interruptions import go_on, pause_after, points
from tests.worker.qlora.runs import ended, told, train, write_run
from worker.contract.events import CheckpointSaved, MetricsLogged, PlanMade
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
WORDS = ("one", "two", "three", "ship", "log", "hello", "steady", "capital", "goes", "world", "what")
ROWS = [
    {"messages": [{"role": "user", "content": f"what is {word}"}, {"role": "assistant", "content": f"{word} " * (1 + place % 4)}]}
    for place, word in enumerate(WORDS)
]
# 11 rows, one held out: 10 rows in batches of 4 are 3 steps an epoch, the last of 2 rows; 6 steps in all.
HARD: dict[str, dict[str, Any]] = {
    "lora": {"lora_dropout": 0.1},
    "data": {"eval_share": 0.09},
    "optimizer": {"warmup_steps": 2},
    "training": {
        "max_steps": None,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "eval_steps": 2,
    },
}


def hard(**training: Any) -> dict[str, dict[str, Any]]:
    return {**HARD, "training": {**HARD["training"], **training}}


def adapter_of(run: RunDirectory) -> str:
    return hashlib.sha256((run.adapter / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunDirectory:
    run = write_run(tmp_path_factory.mktemp("whole") / "run", model=tiny_model, rows=ROWS, **hard())
    assert train(run) == 0
    return run


def same(run: RunDirectory, whole: RunDirectory) -> bool:
    assert points(run) == points(whole)
    kept = ("steps", "epochs", "first_loss", "final_loss", "eval_loss", "tokens_seen")
    assert [getattr(ended(run).results, name) for name in kept] == [getattr(ended(whole).results, name) for name in kept]
    return adapter_of(run) == adapter_of(whole)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_pause_at_any_step_changes_nothing(
    tmp_path: Path, tiny_model: Path, uninterrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Off and on an evaluation (2 and 4), at the end of an epoch (3), in the middle of the second one (4 and 5)."""
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard())
    pause_after(monkeypatch, run, step=step)
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps) == ("checkpointed", step)
    assert [event.step for event in told(run, CheckpointSaved)] == [step]
    assert not run.adapter.exists()
    assert go_on(run, monkeypatch) == 0
    assert [plan.resumed_from_step for plan in told(run, PlanMade)] == [None, step]
    assert ended(run).outcome == "finished"
    assert same(run, uninterrupted)


@pytest.mark.parametrize("execution", ["auto", "plain"])
def test_a_pause_between_two_logged_steps(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, execution: str
) -> None:
    """A point is the mean of 4 steps; the third one is where it is paused."""
    whole = write_run(tmp_path / "whole", model=tiny_model, rows=ROWS, execution=execution, **hard(logging_steps=4))
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, execution=execution, **hard(logging_steps=4))
    assert train(whole) == 0
    pause_after(monkeypatch, run, step=3)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert [event.step for event in told(run, MetricsLogged) if event.loss is not None] == [4, 6]
    assert same(run, whole)


KILLED_AFTER = """
import os, signal, sys
from worker.contract.events import MetricsLogged
from worker.qlora.telling import Teller
tell = Teller.tell
def tell_and_die(self, event):
    tell(self, event)
    if isinstance(event, MetricsLogged) and event.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Teller.tell = tell_and_die
from worker.qlora.__main__ import main
main([sys.argv[1]])
"""


def test_kill_9_at_a_step_after_a_checkpoint(
    tmp_path: Path, tiny_model: Path, uninterrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard(save_steps=2))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    killed = subprocess.run([sys.executable, "-c", KILLED_AFTER, str(run.path), "5"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [event.step for event in told(run, CheckpointSaved)] == [2, 4]
    trained = watched_rows(monkeypatch)
    assert train(run) == 0
    assert told(run, PlanMade)[-1].resumed_from_step == 4
    assert len(trained) == 2 + 2 + 2  # step 5 again, and step 6 with its last two rows
    assert same(run, uninterrupted)


def watched_rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The rows that really go through the model in training, as their tokens, in order."""
    from worker.qlora.packed.runs import PackedRuns

    rows: list[tuple[int, ...]] = []
    train_pass = PackedRuns.train

    def recorded(self: Any, batch: Any, **options: Any) -> Any:
        ids, ends = batch["input_ids"][0].tolist(), batch["ends"][0].tolist()
        rows.extend(tuple(ids[begin:end]) for begin, end in pairwise(ends) if end > begin)
        return train_pass(self, batch, **options)

    monkeypatch.setattr(PackedRuns, "train", recorded)
    return rows


def test_no_row_is_trained_on_twice_in_an_epoch_and_none_is_left_out(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused in the middle of each of two epochs, and gone on with other passes each time."""
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard())
    trained: list[tuple[int, ...]] = []
    for stop_at, rows_a_pass in ((2, 2), (5, 4), (None, 1)):
        run.pass_plan.write_text(pass_plan(rows_a_pass))
        if stop_at is not None:
            pause_after(monkeypatch, run, step=stop_at)
        seen = watched_rows(monkeypatch)
        assert train(run) == 0
        trained += seen
        monkeypatch.undo()
        run.stop.unlink(missing_ok=True)
    assert len(trained) == 20
    assert len(set(trained[:10])) == 10
    assert sorted(trained[:10]) == sorted(trained[10:])
    assert trained[:10] != trained[10:]


def pass_plan(rows: int, *, of: int = 4, checkpointing: bool = False) -> str:
    from worker.contract.plan import PassPlan

    return PassPlan(
        per_device_train_batch_size=rows, gradient_accumulation_steps=of // rows, activation_checkpointing=checkpointing
    ).model_dump_json()


def test_paused_before_the_first_step_and_again_before_the_next_one(
    tmp_path: Path, tiny_model: Path, uninterrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard())
    run.stop.write_text("pause")
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps, run.checkpoints.exists()) == ("checkpointed", 0, False)
    run.stop.unlink()
    pause_after(monkeypatch, run, step=4)
    assert train(run) == 0
    first = ended(run).results
    monkeypatch.undo()
    assert train(run) == 0  # the word is still there
    again = ended(run)
    assert (again.outcome, again.results.steps, again.results.tokens_seen) == ("checkpointed", 4, first.tokens_seen)
    assert again.results.train_seconds == pytest.approx(first.train_seconds)
    assert [path.name for path in run.checkpoints.iterdir()] == ["checkpoint-4"]
    assert go_on(run, monkeypatch) == 0
    assert same(run, uninterrupted)
    assert ended(run).results.train_seconds > first.train_seconds


def test_a_run_that_was_killed_after_its_last_step_is_only_saved(
    tmp_path: Path, tiny_model: Path, uninterrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard(save_steps=2))
    assert train(run) == 0
    shutil.rmtree(run.adapter)
    trained = watched_rows(monkeypatch)
    assert train(run) == 0
    assert trained == []
    assert told(run, PlanMade)[-1].resumed_from_step == 6
    assert same(run, uninterrupted)


def test_stop_and_save_of_a_run_that_waited_paused_saves_what_it_had(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=ROWS, **hard())
    pause_after(monkeypatch, run, step=3)
    assert train(run) == 0
    weights = hashlib.sha256((run.checkpoints / "checkpoint-3" / "adapter_model.safetensors").read_bytes()).hexdigest()
    run.stop.write_text("stop_and_save")
    monkeypatch.undo()
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps) == ("stopped_saved", 3)
    assert adapter_of(run) == weights


@pytest.mark.parametrize("optim", ["adamw_8bit", "lion_8bit"])
def test_states_of_bitsandbytes_come_back(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, optim: str) -> None:
    blocks = {"optimizer": {"optim": optim, "learning_rate": 0.01}, "lora": {"r": 64, "lora_dropout": 0.0}}
    whole = write_run(tmp_path / "whole", model=tiny_model, **blocks)
    run = write_run(tmp_path / "run", model=tiny_model, **blocks)
    assert train(whole) == 0
    pause_after(monkeypatch, run, step=2)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert same(run, whole)


def test_without_save_steps_checkpoints_come_by_the_clock(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIBBLE_TRAINER_CHECKPOINT_SECONDS", "0.001")
    run = write_run(tmp_path / "run", model=tiny_model)
    assert train(run) == 0
    assert [event.step for event in told(run, CheckpointSaved)] == [1, 2, 3]  # after the last one comes the adapter
