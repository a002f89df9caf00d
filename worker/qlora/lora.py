"""The adapter: which layers get one, and in which type it trains."""

from typing import Any

import torch
from peft import LoraConfig

from worker.contract.lora import Lora
from worker.qlora.failures import RunFailed


def linear_modules(model: Any) -> tuple[str, ...]:
    """Last part of the names of all linear layers but the output head, in the model's order: q_proj, k_proj, ..."""
    head = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if is_linear(module) and module is not head]
    return tuple(dict.fromkeys(_ending(name) for name in names))


def is_linear(module: Any) -> bool:
    """bitsandbytes' Linear4bit is a torch Linear; GPT-2 calls its own Conv1D."""
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _ending(name: str) -> str:
    """`mlp.0` and not `0`: a number alone would match layers of every kind."""
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]


def choose_target_modules(model: Any, *, lora: Lora) -> tuple[str, ...]:
    found = linear_modules(model)
    if isinstance(lora.target_modules, str):
        return _shortcut(lora.target_modules, found=found)
    missing = [name for name in lora.target_modules if not _matches(model, name)]
    if missing:
        raise RunFailed(
            "bad_config",
            f"Target modules: this model has no layer called {', '.join(missing)}.",
            advice=f"It has {', '.join(found)}. Choose from these, or auto for all of them.",
        )
    return lora.target_modules


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "dense", "out_proj", "c_attn")
QUERIES_AND_VALUES = ("q_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn")


def _shortcut(asked: str, *, found: tuple[str, ...]) -> tuple[str, ...]:
    """auto, attention or q_and_v as the names that this model has."""
    if asked == "auto":
        return found
    names = tuple(name for name in found if name in (ATTENTION if asked == "attention" else QUERIES_AND_VALUES))
    if not names:
        raise RunFailed(
            "bad_config",
            f"Target modules: what this model's attention layers are called is not known; it has {', '.join(found)}.",
            advice="Name the layers yourself, or choose auto for all of them.",
        )
    return names


def _matches(model: Any, target: str) -> bool:
    return any(
        (name == target or name.endswith(f".{target}")) and (is_linear(module) or isinstance(module, torch.nn.Embedding))
        for name, module in model.named_modules()
    )


def lora_config(lora: Lora, *, target_modules: tuple[str, ...]) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias=lora.bias,
        target_modules=list(target_modules),
    )


def cast_adapter_to_float32(model: Any) -> None:
    """TRL makes the adapter bfloat16 under QLoRA; then small updates are lost and a resumed run differs (docs/decisions)."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def adapter_is_finite(model: Any) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters() if parameter.requires_grad)


def count_parameters(model: Any) -> tuple[int, int]:
    """Trained, and all. PEFT counts a 4-bit weight as the many that it packs into one byte."""
    trained, everything = model.get_nb_trainable_parameters()
    return int(trained), int(everything)
