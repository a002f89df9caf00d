"""The optimizer and its schedule: the fields of transformers' TrainingArguments."""

from typing import Literal

from pydantic import Field, field_validator

from worker.contract.message import Message

Optim = Literal[
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_8bit",
    "lion_32bit",
    "lion_8bit",
    "ademamix",
    "ademamix_8bit",
    "rmsprop",
    "rmsprop_bnb_32bit",
    "rmsprop_bnb_8bit",
    "adafactor",
    "adagrad",
    "sgd",
]
LrScheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "constant",
    "constant_with_warmup",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "reduce_lr_on_plateau",
]


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
    lr_scheduler_kwargs: dict[str, float] = Field(
        {},
        title="Schedule's own settings",
        description="What the schedule takes beside the warm-up, as name=number: num_cycles=2 for cosine_with_restarts, "
        "min_lr_rate=0.1 for cosine_with_min_lr, num_decay_steps=100 for warmup_stable_decay. Empty: its defaults (down to a tenth "
        "where it has a lowest rate, the last tenth of the steps where it has an end to fall to).",
    )
    warmup_steps: float = Field(
        0.03,
        ge=0,
        le=1_000_000,
        title="Warm-up",
        description="Steps over which the learning rate rises from zero. Below 1 it is a share of all steps: 0.03 is 3 %.",
    )

    @field_validator("lr_scheduler_kwargs", mode="before")
    @classmethod
    def pairs_from_text(cls, value: object) -> object:
        """Reads `num_cycles=2, min_lr_rate=0.1` as a table."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if wrong := [name.strip() for name, sign, number in pairs if not (sign and name.strip() and number.strip())]:
            raise ValueError(f"Write name=number, separated by commas; {wrong[0]!r} is not.")
        return {name.strip(): number.strip() for name, _, number in pairs}

    @field_validator("warmup_steps")
    @classmethod
    def whole_steps_above_one(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("Give whole steps, or a share below 1.")
        return value
