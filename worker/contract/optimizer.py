"""The optimizer and its schedule: the fields of transformers' TrainingArguments."""

from typing import Literal

from pydantic import Field, field_validator

from worker.contract.message import Message

Optim = Literal[
    "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "adamw_torch", "adamw_torch_fused", "paged_lion_8bit", "lion_8bit", "sgd"
]
LrScheduler = Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"]


def is_paged(optim: str) -> bool:
    """True if the states live in memory that CUDA pages between the card and the host."""
    return optim.startswith("paged_")


class Optimizer(Message):
    optim: Optim = Field(
        "paged_adamw_32bit",
        title="Optimizer",
        description="Paged optimizers move their states to host memory when the card is full, instead of failing. "
        "8-bit states take a quarter of the memory. On a CPU the unpaged twin runs, and the log says so.",
    )
    learning_rate: float = Field(
        2e-4,
        gt=0,
        le=1,
        title="Learning rate",
        description="2e-4 is the usual start for QLoRA; use 1e-4 for 33B and larger, and lower it if the loss jumps.",
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, title="Weight decay", description="Pulls adapter weights towards zero. Rarely needed for LoRA."
    )
    max_grad_norm: float = Field(
        0.3, gt=0, le=1000, title="Gradient clipping", description="Gradients longer than this are scaled down to it."
    )
    lr_scheduler_type: LrScheduler = Field("cosine", title="Schedule", description="How the learning rate falls after the warm-up.")
    warmup_steps: float = Field(
        0.03,
        ge=0,
        le=1_000_000,
        title="Warm-up",
        description="Steps over which the learning rate rises from zero. Below 1 it is a share of all steps: 0.03 is 3 %.",
    )

    @field_validator("warmup_steps")
    @classmethod
    def whole_steps_above_one(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("Give whole steps, or a share below 1.")
        return value
