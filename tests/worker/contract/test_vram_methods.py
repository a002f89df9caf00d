"""The memory estimate of what the grid has not measured: preferences, full fine-tuning, DoRA, 8 bits, packing, several GPUs."""

from typing import Any

import pytest

from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import MemoryParts, RowLengths, memory_parts

LLAMA = {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
ONE = shape_of(LLAMA | {"num_key_value_heads": 8, "vocab_size": 128_256, "tie_word_embeddings": True})
MIB = 2**20


def spec(**blocks: Any) -> FinetuneSpec:
    asked: dict[str, Any] = {
        "base_model": {"kind": "folder", "name_or_path": "/models/one"},
        "lora": {"r": 16, "lora_dropout": 0.0},
        "training": {"max_steps": 3, "max_length": 512, "per_device_train_batch_size": 4},
    }
    asked["training"] |= blocks.pop("training", {})
    asked["lora"] |= blocks.pop("lora", {})
    return FinetuneSpec.model_validate(asked | blocks)


def parts(rows: RowLengths | None = None, **blocks: Any) -> MemoryParts:
    return memory_parts(spec(**blocks), ONE, rows=rows)


BF16 = {"kind": "none", "dtype": "bfloat16"}
PLAIN = {"plan": {"execution": "plain"}}


@pytest.mark.parametrize(("kind", "execution"), [("dpo", "auto"), ("orpo", "auto"), ("dpo", "plain")])
def test_a_pair_is_two_rows(kind: str, execution: str) -> None:
    plan = {"plan": {"execution": execution}, "quantization": BF16}
    of_pairs = parts(
        objective={"kind": kind}, training={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}, **plan
    )
    of_rows = parts(training={"gradient_accumulation_steps": 2}, **plan)
    assert of_pairs.weights == of_rows.weights, "the base model is its own reference"
    assert of_pairs.activations == pytest.approx(of_rows.activations, rel=0.01)


def test_a_reward_model_makes_no_logits_and_orpo_without_packing_all_of_them() -> None:
    assert parts(objective={"kind": "reward"}, **PLAIN).logits == parts(objective={"kind": "reward"}).logits == 0
    all_at_once = 2 * 4 * 512 * ONE.vocab_size * 4
    assert parts(objective={"kind": "orpo"}, **PLAIN).logits > all_at_once > parts(objective={"kind": "dpo"}, **PLAIN).logits


def test_full_fine_tuning_takes_16_bytes_a_parameter_and_the_pass() -> None:
    full = parts(
        finetuning_type="full", quantization=BF16, optimizer={"optim": "adamw_torch"}, training={"activation_checkpointing": True}
    )
    assert full.weights == 4 * ONE.parameters
    assert full.optimizer_states == pytest.approx(8 * ONE.parameters, rel=0.01)
    assert full.adapter == 0
    assert full.allocated > 16 * ONE.parameters, "all gradients are there when the optimizer steps"
    small = parts(
        finetuning_type="full",
        quantization=BF16,
        optimizer={"optim": "paged_adamw_8bit"},
        training={"activation_checkpointing": True},
    )
    assert small.needed < full.needed - 7 * ONE.parameters
    assert small.allocated > 8 * ONE.parameters


def test_dora_keeps_both_results_and_unpacks_whole_matrices() -> None:
    plain, dora = parts(**PLAIN), parts(lora={"use_dora": True})
    assert dora.dequantised_layer > 4 * 2048 * 8192 * 2 > plain.dequantised_layer
    assert dora.activations > plain.activations
    assert dora.adapter > plain.adapter, "a magnitude for each column"


def test_8_bits_lie_between_4_and_16() -> None:
    four, eight, sixteen = (
        parts(quantization=quantization, **PLAIN)
        for quantization in ({"kind": "bitsandbytes_4bit"}, {"kind": "bitsandbytes_8bit"}, BF16)
    )
    assert four.linear_weights < eight.linear_weights < sixteen.linear_weights
    assert eight.linear_weights == pytest.approx(sixteen.linear_weights / 2, rel=0.01)
    assert eight.other_weights == sixteen.other_weights


def test_padded_rows_repeat_keys_and_values_and_bins_do_not() -> None:
    mixed, even = RowLengths(512, 200.0), RowLengths(512, 512.0)
    checked = {"activation_checkpointing": False}
    padded, unpadded = (parts(rows, training=checked, **PLAIN) for rows in (mixed, even))
    repeated = 16 * 4 * 512 * 2 * (2048 - 512) * 2
    assert padded.activations - unpadded.activations == pytest.approx(repeated, rel=0.1)
    binned = parts(mixed, training=checked, objective={"kind": "sft", "packing": True}, **PLAIN)
    assert binned.activations <= unpadded.activations


def test_noise_takes_nothing() -> None:
    assert parts(training={"neftune_noise_alpha": 5}) == parts()


def test_a_split_base_model_is_shared_and_its_embeddings_are_not() -> None:
    """Each process fetches a layer and the next one; embeddings and head are whole from the first pass on."""
    whole, split = parts(**PLAIN), parts(plan={"execution": "auto", "num_processes": 4, "fsdp": True})
    assert split.linear_weights == whole.linear_weights // 4
    assert split.other_weights > whole.other_weights
    assert split.adapter == whole.adapter
    assert split.optimizer_states == whole.optimizer_states
    assert split.dequantised_layer > whole.dequantised_layer


def test_gradients_of_earlier_passes_are_there_from_the_second_pass_on() -> None:
    one = parts(quantization=BF16, training={"activation_checkpointing": False}, **PLAIN)
    two = parts(quantization=BF16, training={"activation_checkpointing": False, "gradient_accumulation_steps": 2}, **PLAIN)
    assert (one.gradients, two.gradients) == (0, two.adapter)
    assert two.allocated == one.allocated + two.gradients


def test_float32_on_a_gpu_is_not_packed() -> None:
    """Flash attention has fp16 and bf16 alone. Nothing is cast then, so no copies are kept."""
    asked = {"quantization": {"kind": "none", "dtype": "float32"}}
    assert parts(**asked) == parts(**asked, **PLAIN)
