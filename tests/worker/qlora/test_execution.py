"""Packed and plain training end in the same adapter, and what cannot go packed says why."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, make_tiny_gpt_neox, told, train, write_run
from worker.contract.events import MetricsLogged, PlanMade
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
# 16 rows, 3 held out: 13 rows in batches of 6 are 3 steps an epoch, the last of one row.
TRAINING = {"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "eval_steps": 3}


def trained(folder: Path, *, model: Path, execution: str, **blocks: Any) -> RunDirectory:
    blocks.setdefault("training", TRAINING)
    run = write_run(folder, model=model, rows=ROWS, execution=execution, data={"eval_share": 0.2}, **blocks)
    assert train(run) == 0
    return run


def losses(run: RunDirectory, name: str) -> list[float]:
    return [getattr(event, name) for event in told(run, MetricsLogged) if getattr(event, name) is not None]


@pytest.mark.parametrize(
    "quantization", [{"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"}, {"kind": "none", "dtype": "float32"}]
)
def test_packed_and_plain_runs_are_the_same(tmp_path: Path, tiny_model: Path, quantization: dict[str, Any]) -> None:
    """Every loss within 1e-5, the adapter within 1e-4 in norm; the smaller last batch of an epoch included."""
    from safetensors.torch import load_file

    packed = trained(tmp_path / "packed", model=tiny_model, execution="auto", quantization=quantization)
    plain = trained(tmp_path / "plain", model=tiny_model, execution="plain", quantization=quantization)
    assert [told(run, PlanMade)[0].execution.kind for run in (packed, plain)] == ["packed", "plain"]
    assert told(packed, PlanMade)[0].rows_a_pass == 6
    for name in ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_seen"):
        assert losses(packed, name) == pytest.approx(losses(plain, name), rel=1e-5)
    one, other = (load_file(run.adapter / "adapter_model.safetensors") for run in (packed, plain))
    assert one.keys() == other.keys()
    for name in one:
        assert float((one[name] - other[name]).norm()) <= 1e-4 * float(other[name].norm()), name


def test_plain_execution_says_why(tmp_path: Path, tiny_model: Path) -> None:
    run = trained(tmp_path / "run", model=tiny_model, execution="plain", training={"max_steps": 1})
    assert told(run, PlanMade)[0].execution.reasons == ("Rows are run as TRL runs them: plain execution was asked for.",)


def test_another_architecture_goes_trls_way(tmp_path: Path) -> None:
    make_tiny_gpt_neox(tmp_path / "model")
    run = trained(tmp_path / "run", model=tmp_path / "model", execution="auto", training={"max_steps": 1})
    plan = told(run, PlanMade)[0].execution
    assert plan.kind == "plain"
    assert "GPTNeoXForCausalLM is not one of LlamaForCausalLM" in plan.reasons[0]


def test_an_optimizer_in_8_bits_keeps_a_tensor_a_weight(tmp_path: Path, tiny_model: Path) -> None:
    """Its states are quantised in blocks, which must not run from one weight into the next."""
    run = trained(
        tmp_path / "run",
        model=tiny_model,
        execution="auto",
        training={"max_steps": 1},
        optimizer={"optim": "adamw_8bit", "learning_rate": 0.01, "warmup_steps": 0},
    )
    plan = told(run, PlanMade)[0]
    assert (plan.execution.kind, plan.optim) == ("packed", "adamw_8bit")


def test_weights_kept_unpacked_change_no_bit(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card they are kept where there is room. Of two layers one, so that both ways are in one run."""
    from dataclasses import replace

    from worker.qlora import making
    from worker.qlora.packed import product

    training = {"max_steps": 3, "per_device_train_batch_size": 2}
    blocks: dict[str, Any] = {
        "quantization": {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"},
        "training": training,
    }
    packed = trained(tmp_path / "packed", model=tiny_model, execution="auto", **blocks)
    thrift_of, dequantise, unpacked = making.thrift_of, product.dequantise, []
    monkeypatch.setattr(making, "thrift_of", lambda plan: replace(thrift_of(plan), unpacked=1))
    monkeypatch.setattr(product, "dequantise", lambda *args, **kwargs: (unpacked.append(1), dequantise(*args, **kwargs)))
    kept = trained(tmp_path / "kept", model=tiny_model, execution="auto", **blocks)
    assert losses(kept, "loss") == losses(packed, "loss")
    assert len(losses(kept, "loss")) == 3
    name = "adapter_model.safetensors"
    assert (kept.adapter / name).read_bytes() == (packed.adapter / name).read_bytes()
    assert (
        len(unpacked) == 7 + 3 * 2 * 7 + 2 * 7
    )  # the first layer's once; the second's there and back, and in both passes of the evaluation
