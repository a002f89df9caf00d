"""A run whose steps are read when the next pass is under way tells, saves and ends as one that waits for each."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.interruptions import pause_after, points
from tests.worker.qlora.runs import ROWS, events_of, failed, told, train, write_run
from worker.contract.events import CheckpointSaved, MetricsLogged
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
RUNS: dict[str, dict[str, Any]] = {
    "every step": {"max_steps": 5},
    "every second step": {"max_steps": 5, "logging_steps": 2},
    "two passes a step, saved and evaluated between": {
        "max_steps": 6,
        "gradient_accumulation_steps": 2,
        "save_steps": 2,
        "eval_steps": 3,
    },
    "epochs": {"num_train_epochs": 2, "max_steps": None, "logging_steps": 3},
}


def write(folder: Path, *, model: Path, **training: Any) -> RunDirectory:
    given = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, **training}
    return write_run(folder, model=model, rows=ROWS, data={"eval_share": 0.2} if "eval_steps" in training else {}, training=given)


def run_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card."""
    from worker.qlora.running_ahead import RunningAhead

    monkeypatch.setattr(RunningAhead, "runs_ahead", True)


def words(run: RunDirectory) -> list[Any]:
    """All that is told of the training, without the clock's part."""
    clocked = {"at", "tokens_per_second", "seconds_left", "size_bytes", "made_by", "sha256"}
    kinds = (MetricsLogged, CheckpointSaved)
    return [event.model_dump(exclude=clocked) for event in events_of(run) if isinstance(event, kinds)]


def weights(run: RunDirectory) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("training", RUNS.values(), ids=RUNS.keys())
def test_what_is_told_and_learned_is_the_same(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, Any]
) -> None:
    ahead, waiting = write(tmp_path / "a", model=tiny_model, **training), write(tmp_path / "w", model=tiny_model, **training)
    assert train(waiting) == 0
    run_ahead(monkeypatch)
    assert train(ahead) == 0
    assert words(ahead) == words(waiting)
    assert weights(ahead) == weights(waiting)


def happenings(monkeypatch: pytest.MonkeyPatch, run: RunDirectory) -> list[str]:
    """Passes, told steps and checkpoints in their order."""
    from worker.qlora.packed.runs import PackedRuns
    from worker.qlora.telling import Teller

    seen: list[str] = []
    begin, tell = PackedRuns.train, Teller.tell

    def beginning(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append("pass")
        return begin(self, *args, **kwargs)

    def telling(self: Any, event: Any) -> None:
        if isinstance(event, MetricsLogged | CheckpointSaved):
            seen.append(f"{'saved' if isinstance(event, CheckpointSaved) else 'told'} {event.step}")
        tell(self, event)

    monkeypatch.setattr(PackedRuns, "train", beginning)
    monkeypatch.setattr(Teller, "tell", telling)
    train(run)
    return seen


def test_a_step_is_told_when_the_next_pass_has_begun(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But before it is saved, and the last one at once."""
    run_ahead(monkeypatch)
    run = write(tmp_path / "run", model=tiny_model, max_steps=4, save_steps=3)
    assert happenings(monkeypatch, run) == [
        "pass",
        "pass",
        "told 1",
        "pass",
        "told 2",
        "told 3",
        "saved 3",
        "pass",
        "told 4",
        "saved 4",
    ]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_none_is_found_before_its_step_is_told_or_saved(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from worker.qlora.packed.runs import PackedRuns

    run_ahead(monkeypatch)
    run = write(tmp_path / "run", model=tiny_model, max_steps=6, save_steps=3)
    begin, begun = PackedRuns.train, [0]

    def breaking(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun[0] += 1
        told_of_pass = begin(self, *args, **kwargs)
        if begun[0] == 3 and what == "gradient":
            self.decoder.adapter.grads[0] = float("inf")
        return told_of_pass * float("nan") if begun[0] == 3 and what == "loss" else told_of_pass

    monkeypatch.setattr(PackedRuns, "train", breaking)
    assert train(run) == 1
    assert (failed(run).cause, failed(run).step) == ("diverged", 3)
    assert what in failed(run).message
    assert len(failed(run).rows) == 4
    assert [event.step for event in told(run, MetricsLogged)] == [1, 2]
    assert not told(run, CheckpointSaved)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_pause_changes_nothing(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Between two logged steps (1, 3) and at one (2, 4): both runs run ahead, and what they tell and learn is the same."""
    training: dict[str, Any] = {"max_steps": 6, "logging_steps": 2, "eval_steps": 3}
    whole, run = write(tmp_path / "whole", model=tiny_model, **training), write(tmp_path / "run", model=tiny_model, **training)
    run_ahead(monkeypatch)
    assert train(whole) == 0
    with monkeypatch.context() as asked:
        pause_after(asked, run, step=step)
        assert train(run) == 0
    assert [event.step for event in told(run, CheckpointSaved)] == [step]
    run.stop.unlink()
    assert train(run) == 0
    assert points(run) == points(whole)
    assert weights(run) == weights(whole)
