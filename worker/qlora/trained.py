"""What is trained, adapter or whole model alike: the parameters that require gradients."""

from typing import Any

import torch


def trained_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def cast_to_float32(model: Any) -> None:
    """TRL makes an adapter bfloat16 under QLoRA; then small updates are lost and a resumed run differs (docs/decisions)."""
    for parameter in trained_parameters(model).values():
        parameter.data = parameter.data.to(torch.float32)


def is_finite(model: Any) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in trained_parameters(model).values())


def count_parameters(model: Any) -> tuple[int, int]:
    """Trained, and all. PEFT counts a 4-bit weight as the many that it packs into one byte."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trained, everything = model.get_nb_trainable_parameters()
        return int(trained), int(everything)
    trained = sum(parameter.numel() for parameter in trained_parameters(model).values())
    return trained, sum(parameter.numel() for parameter in model.parameters())
