"""The adapter: which layers get one, and in which type it trains."""

from typing import Any

import torch
from peft import LoraConfig

from worker.contract.lora import Lora
from worker.contract.targets import names_of
from worker.qlora.failures import RunFailed


def linear_modules(model: Any) -> tuple[str, ...]:
    """Last part of the names of all linear layers but the output head, in the model's order: q_proj, k_proj, ..."""
    heads = (model.get_output_embeddings(), getattr(model, "score", None))
    names = [name for name, module in model.named_modules() if is_linear(module) and not any(module is head for head in heads)]
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
    missing = [name for name in lora.target_modules if not any(_targeted(model, targets=(name,)))]
    if missing:
        raise RunFailed(
            "bad_config",
            f"Target modules: this model has no layer called {', '.join(missing)}.",
            advice=f"It has {', '.join(found)}. Choose from these, or auto for all of them.",
        )
    return lora.target_modules


def _shortcut(asked: str, *, found: tuple[str, ...]) -> tuple[str, ...]:
    """auto, attention or q_and_v as the names that this model has."""
    names = names_of(asked, found=found)
    if not names:
        raise RunFailed(
            "bad_config",
            f"Target modules: what this model's attention layers are called is not known; it has {', '.join(found)}.",
            advice="Name the layers yourself, or choose auto for all of them.",
        )
    return names


def _targeted(model: Any, *, targets: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The layers that get an adapter, with their whole names. As PEFT matches them."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if any(name == target or name.endswith(f".{target}") for target in targets)
        and (is_linear(module) or isinstance(module, torch.nn.Embedding))
    ]


def check_rank(model: Any, *, r: int, targets: tuple[str, ...]) -> str:
    """A notice when the rank is larger than some layers; fails when it is larger than every one: no more fits into a matrix.

    (inputs × r and r × outputs make a matrix of rank min(inputs, outputs) at most.)
    """
    ranks = {name.rsplit(".", 1)[-1]: _largest_rank(module) for name, module in _targeted(model, targets=targets)}
    small = {name: rank for name, rank in ranks.items() if r > rank}
    if not small:
        return ""
    most = max(ranks.values())
    if r > most:
        raise RunFailed(
            "bad_config",
            f"Rank {r} is larger than every layer that gets an adapter: the largest ones have rank {most}.",
            advice=f"Set a rank of {most} or less; 8 to 64 is usual.",
        )
    named = ", ".join(f"{name} ({rank})" for name, rank in small.items())
    return f"Rank {r} is larger than some of the layers: {named}. There the adapter takes memory that it cannot use."


def _largest_rank(module: Any) -> int:
    if isinstance(module, torch.nn.Linear):
        return min(int(module.in_features), int(module.out_features))
    return min(int(side) for side in module.weight.shape)


def lora_config(lora: Lora, *, target_modules: tuple[str, ...], task_type: str = "CAUSAL_LM") -> LoraConfig:
    return LoraConfig(
        task_type=task_type,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias=lora.bias,
        use_dora=lora.use_dora,
        use_rslora=lora.use_rslora,
        target_modules=list(target_modules),
    )
