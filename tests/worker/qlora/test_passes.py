"""How rows are run changes no result: other plans of passes, the rehearsal before step 1, and what is told when memory ends."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, ended, failed, told, train, write_run
from worker.contract.events import MetricsLogged, PhaseStarted, PlanMade
from worker.contract.plan import PassPlan
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
# 14 rows trained, 2 held out: two epochs of 4 steps, the last of each with 2 rows of the 4.
BLOCKS: dict[str, dict[str, Any]] = {
    "training": {"max_steps": None, "num_train_epochs": 2, "eval_steps": 3},
    "data": {"eval_share": 0.125},
}


def write(folder: Path, *, model: Path, rows_a_pass: int = 4, checkpointing: bool = False, **blocks: Any) -> RunDirectory:
    run = write_run(folder, model=model, **{**BLOCKS, **blocks})
    plan = PassPlan(
        per_device_train_batch_size=rows_a_pass,
        gradient_accumulation_steps=4 // rows_a_pass,
        activation_checkpointing=checkpointing,
    )
    run.pass_plan.write_text(plan.model_dump_json())
    return run


def losses(run: RunDirectory) -> list[float]:
    return [event.loss for event in told(run, MetricsLogged) if event.loss is not None]


def eval_losses(run: RunDirectory) -> list[float]:
    return [event.eval_loss for event in told(run, MetricsLogged) if event.eval_loss is not None]


@pytest.mark.parametrize(("rows_a_pass", "checkpointing"), [(2, False), (1, False), (1, True)])
def test_a_plan_of_passes_changes_no_loss(tmp_path: Path, tiny_model: Path, rows_a_pass: int, checkpointing: bool) -> None:
    """NF4 under float32, no dropout. Evaluations too: theirs is the token mean over all rows."""
    asked = write_run(tmp_path / "asked", model=tiny_model, **BLOCKS)
    planned = write(tmp_path / "planned", model=tiny_model, rows_a_pass=rows_a_pass, checkpointing=checkpointing)
    assert train(asked) == train(planned) == 0
    assert len(losses(asked)) == 8
    assert losses(planned) == pytest.approx(losses(asked), rel=1e-5)
    assert eval_losses(planned) == pytest.approx(eval_losses(asked), rel=1e-5)
    plan, asked_plan = told(planned, PlanMade)[0], told(asked, PlanMade)[0]
    assert (plan.rows_a_pass, plan.passes_a_step, plan.activation_checkpointing) == (rows_a_pass, 4 // rows_a_pass, checkpointing)
    assert (asked_plan.rows_a_pass, asked_plan.passes_a_step, asked_plan.activation_checkpointing) == (4, 1, False)
    assert plan.effective_batch == asked_plan.effective_batch == 4
    assert plan.max_steps == asked_plan.max_steps == 8


@pytest.mark.parametrize("content", ["{", '{"rows": 1}', '{"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}'])
def test_a_plan_that_is_none_or_of_another_batch_is_refused(tmp_path: Path, tiny_model: Path, content: str) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    run.pass_plan.write_text(content.replace("2}", '2, "activation_checkpointing": false}'))
    assert train(run) == 1
    assert (failed(run).cause, "pass_plan.json" in failed(run).message) == ("bad_config", True)


def test_the_rehearsal_leaves_no_trace(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout and two passes a step: random states, gradients and token counts are as without it."""
    blocks = {"lora": {"lora_dropout": 0.1}}
    without = write(tmp_path / "without", model=tiny_model, rows_a_pass=2, **blocks)
    assert train(without) == 0
    monkeypatch.setenv("NIBBLE_TRAINER_REHEARSE", "1")
    with_it = write(tmp_path / "with", model=tiny_model, rows_a_pass=2, **blocks)
    assert train(with_it) == 0
    phases = [(event.phase, event.detail) for event in told(with_it, PhaseStarted)]
    (place,) = [place for place, (phase, _) in enumerate(phases) if phase == "Trying the longest batch"]
    assert phases[place + 1][0] == "Training"
    assert phases[place][1].startswith("2 rows of up to ")
    assert "Trying the longest batch" not in [event.phase for event in told(without, PhaseStarted)]
    assert losses(with_it) == losses(without)
    assert ended(with_it).results.tokens_seen == ended(without).results.tokens_seen
    adapters = [(run.adapter / "adapter_model.safetensors").read_bytes() for run in (with_it, without)]
    assert adapters[0] == adapters[1]


def test_what_does_not_fit_fails_before_the_first_step(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the longest row needs more than there is; without the rehearsal it comes later."""
    longest = {"messages": [{"role": "user", "content": "who"}, {"role": "assistant", "content": "she goes " * 40}]}
    rows = [*ROWS, longest]
    at = step_of_line(tmp_path / "probe", model=tiny_model, rows=rows, line=len(rows))
    fails_from(monkeypatch, tokens=64, error=out_of_memory())  # it is cut to the max length; no other row is near it
    late = write_run(tmp_path / "late", model=tiny_model, rows=rows, training={"max_steps": 5})
    assert train(late) == 1
    assert (failed(late).cause, failed(late).step, len(losses(late))) == ("out_of_memory", at, at - 1)
    assert at > 1
    monkeypatch.setenv("NIBBLE_TRAINER_REHEARSE", "1")
    run = write_run(tmp_path / "run", model=tiny_model, rows=rows, training={"max_steps": 5})
    assert train(run) == 1
    assert (failed(run).cause, failed(run).step, losses(run)) == ("out_of_memory", 1, [])
    assert "rows a pass" in failed(run).advice
    assert not run.adapter.exists()


def step_of_line(folder: Path, *, model: Path, rows: list[dict[str, Any]], line: int) -> int:
    from worker.contract.orders import WorkOrder
    from worker.qlora.data_order import DataOrder
    from worker.qlora.dataset import lines_of, prepare_data
    from worker.rows.tokenizer import load_tokenizer

    run = write_run(folder, model=model, rows=rows)
    order = WorkOrder.model_validate_json(run.order.read_bytes())
    lines = lines_of(prepare_data(run.dataset, spec=order.spec, tokenizer=load_tokenizer(run.model)).train)
    shuffle = DataOrder(rows=len(lines.ends) - 1, effective_batch=4, seed=order.spec.training.seed)
    return next(step for step in range(1, 6) if line in lines.of(shuffle.of_step(step)))


def out_of_memory() -> Exception:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fails_from(monkeypatch: pytest.MonkeyPatch, *, tokens: int, error: Exception) -> None:
    """`tokens`: of the longest row of a pass."""
    from worker.qlora.packed.runs import PackedRuns

    make_pass = PackedRuns._pass

    def limited(self: Any, batch: Any, **options: Any) -> Any:
        if int(batch["positions"].max()) + 1 >= tokens:
            raise error
        return make_pass(self, batch, **options)

    monkeypatch.setattr(PackedRuns, "_pass", limited)


def test_host_memory_that_ends_is_told_apart(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_from(monkeypatch, tokens=1, error=MemoryError())
    run = write_run(tmp_path / "run", model=tiny_model)
    assert train(run) == 1
    assert (failed(run).cause, failed(run).step) == ("host_out_of_memory", 1)


def test_the_largest_pass_is_found_in_the_real_order() -> None:
    """Against a plain loop over all passes of all epochs, with a smaller last pass and a run that ends within an epoch."""
    import numpy as np

    from worker.qlora.data_order import DataOrder

    lengths = np.random.default_rng(0).integers(1, 100, size=23)
    order = DataOrder(rows=23, effective_batch=4, seed=7)
    for rows_a_pass in (1, 2, 4):
        for after_step, last_step in ((0, 15), (0, 2), (7, 15), (14, 15), (6, 13)):
            passes = [
                chunk
                for step in range(after_step + 1, last_step + 1)
                for chunk in np.split(order.of_step(step), range(rows_a_pass, 4, rows_a_pass))
                if len(chunk)
            ]
            most = max(len(chunk) * lengths[chunk].max() for chunk in passes)
            found = order.largest_pass(lengths, rows_a_pass=rows_a_pass, after_step=after_step, last_step=last_step)
            assert len(found) * lengths[found].max() == most
            assert any(np.array_equal(found, chunk) for chunk in passes)
            tokens = order.pass_tokens(lengths, rows_a_pass=rows_a_pass, after_step=after_step, last_step=last_step)
            assert tokens.tolist() == [lengths[chunk].sum() for chunk in passes]


def test_the_order_is_the_one_that_accelerate_makes() -> None:
    """So that runs from before this module go through their rows as they did."""
    import torch
    from accelerate.data_loader import SeedableRandomSampler

    from worker.qlora.data_order import DataOrder, EpochSampler

    sampler = EpochSampler(DataOrder(rows=100, effective_batch=8, seed=42))
    theirs = SeedableRandomSampler(range(100), generator=torch.Generator(), data_seed=42)
    for epoch in (0, 3):
        sampler.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(sampler) == list(theirs)
    assert len(sampler) == 100
