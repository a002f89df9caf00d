"""Tiny models of the families that run packed, with an adapter that is not zero, and rows for them."""

from typing import Any

import torch

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}


def tiny(family: str, *, targets: tuple[str, ...] = ALL, kv: int = 2, rslora: bool = False) -> Any:
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES, num_key_value_heads=kv)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # made as zeros, which would hide that they are forgotten
            torch.nn.init.normal_(parameter, std=0.1)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), use_rslora=rslora)
    adapted = get_peft_model(model, lora)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted


def rows(lengths: tuple[int, ...] = (13, 29, 7)) -> list[dict[str, list[int]]]:
    torch.manual_seed(1)
    found = []
    for length in lengths:
        ids = torch.randint(0, 300, (length,))
        labels = torch.where(torch.rand(length) < 0.4, -100, ids)
        found.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    return found


def trained(some: list[dict[str, list[int]]]) -> int:
    return sum(label >= 0 for row in some for label in row["labels"][1:])


def plain_loss(model: Any, some: list[dict[str, list[int]]]) -> torch.Tensor:
    """Row by row through transformers and PEFT; the token mean over all rows. Leaves gradients in the model."""
    total = torch.zeros(())
    for row in some:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        labels = torch.tensor(row["labels"][1:])
        total = total + torch.nn.functional.cross_entropy(logits[:-1], labels, ignore_index=-100, reduction="sum")
    mean = total / trained(some)
    mean.backward()  # type: ignore[no-untyped-call]
    return mean.detach()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
