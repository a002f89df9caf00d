"""Losses of the tiny model that no refactor may change, for each way of training it."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import losses, train, write_run

pytestmark = pytest.mark.torch


def test_the_split_into_passes_does_not_change_the_result(tmp_path: Path, tiny_model: Path) -> None:
    whole = write_run(tmp_path / "whole", model=tiny_model)
    split = write_run(
        tmp_path / "split", model=tiny_model, training={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    )
    train(whole)
    train(split)
    assert losses(split) == pytest.approx(losses(whole), abs=1e-5)


def test_activation_checkpointing_does_not_change_the_result(tmp_path: Path, tiny_model: Path) -> None:
    plain = write_run(tmp_path / "plain", model=tiny_model)
    checkpointed = write_run(tmp_path / "checkpointed", model=tiny_model, training={"activation_checkpointing": True})
    train(plain)
    train(checkpointed)
    assert losses(checkpointed) == pytest.approx(losses(plain), abs=1e-5)


FLOAT32 = {"kind": "none", "dtype": "float32"}
IN_4_BITS = {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"}
PINNED: dict[str, tuple[dict[str, Any], list[float]]] = {
    "QLoRA": ({}, [5.7886, 5.7102, 5.6249, 5.5704]),
    "fp4": ({"quantization": {**IN_4_BITS, "bnb_4bit_quant_type": "fp4"}}, [5.7847, 5.7125, 5.6362, 5.5741]),
    "without double quantisation": (
        {"quantization": {**IN_4_BITS, "bnb_4bit_use_double_quant": False}},
        [5.7886, 5.7098, 5.6251, 5.5702],
    ),
    "8 bits": ({"quantization": {"kind": "bitsandbytes_8bit", "dtype": "float32"}}, [5.7856, 5.7174, 5.6279, 5.5720]),
    "LoRA": ({"quantization": FLOAT32}, [5.7859, 5.7176, 5.6299, 5.5727]),
    "DoRA": ({"quantization": FLOAT32, "lora": {"use_dora": True}}, [5.7859, 5.7043, 5.6294, 5.5720]),
    "rsLoRA": ({"quantization": FLOAT32, "lora": {"use_rslora": True}}, [5.7859, 5.6815, 5.6005, 5.5296]),
    "full": (
        {"quantization": FLOAT32, "finetuning_type": "full", "optimizer": {"learning_rate": 0.001}},
        [5.7859, 5.6451, 5.5319, 5.4380],
    ),
    "packing": ({"objective": {"kind": "sft", "packing": True}}, [5.7594, 5.7173, 5.5883, 5.5480]),
    "NEFTune": ({"training": {"neftune_noise_alpha": 5}}, [5.7540, 5.7594, 5.8433, 5.8264]),
}


@pytest.mark.parametrize("method", PINNED)
def test_losses_are_pinned(tmp_path: Path, tiny_model: Path, method: str) -> None:
    blocks, pinned = PINNED[method]
    run = write_run(tmp_path / "run", model=tiny_model, **blocks)
    assert train(run) == 0
    assert losses(run) == pytest.approx(pinned, abs=5e-4)


def test_no_two_methods_have_the_same_losses() -> None:
    """So that a setting that is not passed on is seen."""
    assert len({tuple(pinned) for _, pinned in PINNED.values()}) == len(PINNED)
