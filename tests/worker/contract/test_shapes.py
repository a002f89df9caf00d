"""Shapes from config.json: the counts are those of transformers' own models, made on the meta device."""

from typing import Any

import pytest

from worker.contract.shapes import FAMILIES, UnknownShape, shape_of

SMALL = {
    "vocab_size": 1000,
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VARIANTS: list[dict[str, Any]] = [
    {"model_type": "llama", "num_key_value_heads": 2},
    {"model_type": "llama", "num_key_value_heads": 6, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    {"model_type": "llama", "num_key_value_heads": 3, "head_dim": 32},
    {"model_type": "mistral", "num_key_value_heads": 2},
    {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 24},
    {"model_type": "qwen3", "num_key_value_heads": 2, "attention_bias": True},
    {"model_type": "gemma", "num_key_value_heads": 1},
    {"model_type": "gemma2", "num_key_value_heads": 3, "head_dim": 32},
    {"model_type": "gemma3_text", "num_key_value_heads": 3, "head_dim": 32},
    {"model_type": "phi3", "num_key_value_heads": 2},
    {"model_type": "gpt_neox"},
    {"model_type": "gpt_neox", "attention_bias": False, "tie_word_embeddings": True},
    {"model_type": "mixtral", "num_key_value_heads": 2, "num_local_experts": 5},
]


def on_meta(config: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    given = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **given))


@pytest.mark.torch
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_every_weight_is_counted(variant: dict[str, Any]) -> None:
    from worker.qlora.lora import is_linear

    config = SMALL | variant
    model, shape = on_meta(config), shape_of(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings()
    found: dict[str, list[tuple[int, int]]] = {}
    for name, module in model.named_modules():
        if is_linear(module) and module is not head:
            found.setdefault(name.rsplit(".", 1)[-1], []).append((module.in_features, module.out_features))
    assert {layer.name: [(layer.inputs, layer.outputs)] * layer.count for layer in shape.linear_layers} == found
    assert shape.architecture == type(model).__name__


def test_every_family_is_compared() -> None:
    assert {variant["model_type"] for variant in VARIANTS} == set(FAMILIES)


def test_what_sees_as_well_keeps_its_text_part_one_level_down() -> None:
    config = SMALL | {"model_type": "gemma3_text", "num_key_value_heads": 3, "head_dim": 32}
    assert shape_of({"model_type": "gemma3", "text_config": config}) == shape_of(config)


def test_an_unknown_family_is_refused_in_words() -> None:
    with pytest.raises(UnknownShape, match="type mamba are not counted"):
        shape_of(SMALL | {"model_type": "mamba"})


def test_a_number_that_is_missing_is_named() -> None:
    with pytest.raises(UnknownShape, match="gives no hidden_size"):
        shape_of({"model_type": "llama", "num_attention_heads": 4})
