"""A resumed run is executed as it was before, whatever memory is free now, as long as it fits; else it says so loudly."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora import interruptions
from tests.worker.qlora.interruptions import pause_after, points
from tests.worker.qlora.runs import ROWS, told, train, write_run
from worker.contract.events import NoticeGiven, PlanMade
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
BLOCKS: dict[str, dict[str, Any]] = {
    "lora": {"lora_dropout": 0.1},
    "training": {"max_steps": 6, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
}
LITTLE = 600_000  # fits passes of fewer rows than the whole batch
TIGHT = 1_000  # fits nothing


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    from worker.qlora import executing

    monkeypatch.setattr(executing, "free_bytes", lambda: 65_536 + size)  # 8 bytes for each trained number are taken off


def write(folder: Path, *, model: Path, **blocks: Any) -> RunDirectory:
    return write_run(folder, model=model, rows=ROWS, **{**BLOCKS, **blocks})


def plans(run: RunDirectory) -> list[ExecutionPlan]:
    return [event.execution for event in told(run, PlanMade)]


def train_with(monkeypatch: pytest.MonkeyPatch, run: RunDirectory, *, size: int, pause: int | None = None) -> None:
    run.stop.unlink(missing_ok=True)
    free(monkeypatch, size)
    if pause is not None:
        pause_after(monkeypatch, run, step=pause)
    assert train(run) == 0
    monkeypatch.undo()


def test_more_memory_changes_nothing(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, which draws differently for other passes: to the last bit the same, and no word of anew."""
    whole, run = write(tmp_path / "whole", model=tiny_model), write(tmp_path / "run", model=tiny_model)
    train_with(monkeypatch, whole, size=LITTLE)
    train_with(monkeypatch, run, size=LITTLE, pause=3)
    train_with(monkeypatch, run, size=10**9)
    first, second = plans(run)
    assert first.passes.per_device_train_batch_size < 4
    assert second.model_copy(update={"reasons": first.reasons}) == first
    assert second.reasons[0] == "Rows are run as they were up to the checkpoint."
    assert points(run) == points(whole)
    assert (run.adapter / "adapter_model.safetensors").read_bytes() == (whole.adapter / "adapter_model.safetensors").read_bytes()
    assert not [event for event in told(run, NoticeGiven) if "planned anew" in event.text]


def test_less_memory_is_planned_anew_and_told(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path / "run", model=tiny_model)
    train_with(monkeypatch, run, size=10**9, pause=3)
    train_with(monkeypatch, run, size=TIGHT)
    first, second = plans(run)
    assert first.passes.per_device_train_batch_size == 4
    assert second.passes.per_device_train_batch_size < 4
    assert any("planned anew" in event.text for event in told(run, NoticeGiven))


def test_without_a_kept_plan_another_memory_would_make_another_run(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plan in the checkpoint is for."""
    from worker.qlora import planning

    whole, run = write(tmp_path / "whole", model=tiny_model), write(tmp_path / "run", model=tiny_model)
    train_with(monkeypatch, whole, size=LITTLE)
    train_with(monkeypatch, run, size=LITTLE, pause=3)
    monkeypatch.setattr(planning, "kept_execution", lambda *_, **__: None)
    train_with(monkeypatch, run, size=10**9)
    assert points(run) != points(whole)


def test_a_smaller_plan_after_running_out_of_memory_is_kept_on_the_next_machine(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine's agent wrote it; the next attempt has no such file."""
    run = write(tmp_path / "run", model=tiny_model)
    smaller = PassPlan(per_device_train_batch_size=1, gradient_accumulation_steps=4, activation_checkpointing=True)
    run.pass_plan.write_text(smaller.model_dump_json())
    train_with(monkeypatch, run, size=10**9, pause=3)
    run.pass_plan.unlink()
    train_with(monkeypatch, run, size=10**9)
    assert [plan.passes for plan in plans(run)] == [smaller, smaller]


@pytest.mark.parametrize("execution", ["auto", "plain"])
def test_other_passes_that_are_asked_for_are_what_runs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, execution: str
) -> None:
    run = write(tmp_path / "run", model=tiny_model, execution=execution)
    pause_after(monkeypatch, run, step=3)
    assert train(run) == 0
    order = run.order.read_text()
    run.order.write_text(
        order.replace('"per_device_train_batch_size": 4', '"per_device_train_batch_size": 2').replace(
            '"gradient_accumulation_steps": 1', '"gradient_accumulation_steps": 2'
        )
    )
    assert interruptions.go_on(run, monkeypatch) == 0
    expected = 4 if execution == "auto" else 2  # packed passes take what fits
    assert plans(run)[1].passes.per_device_train_batch_size == expected
    assert told(run, PlanMade)[1].resumed_from_step == 3
