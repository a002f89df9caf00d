"""How long, how much at once and how often: the fields of transformers' TrainingArguments and trl's SFTConfig."""

from typing import Any, Self

from pydantic import Field, model_validator

from worker.contract.message import Message


class Training(Message):
    per_device_train_batch_size: int = Field(
        4,
        ge=1,
        le=4096,
        title="Rows a pass",
        description="Rows that go through the model at once. Under automatic execution only the effective batch counts.",
    )
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        le=4096,
        title="Passes a step",
        description="Passes whose gradients are added up before one optimizer step. Rows a pass × passes a step is the effective batch.",
    )
    num_train_epochs: float | None = Field(
        None, gt=0, le=1000, title="Epochs", description="Times the whole dataset is seen. Leave empty when steps are given."
    )
    max_steps: int | None = Field(
        None, ge=1, le=10_000_000, title="Steps", description="Optimizer steps in all. Wins over epochs when both are given."
    )
    max_length: int = Field(
        512, ge=8, le=1_048_576, title="Max length (tokens)", description="Longer rows are cut at the end. Memory grows with it."
    )
    activation_checkpointing: bool = Field(
        True,
        title="Activation checkpointing",
        description="Keeps few activations and computes the others again on the way back: much less memory, about a third slower. "
        "Under automatic execution it is done for as many layers as the memory makes necessary. "
        "(gradient_checkpointing is the older name of the same switch.)",
    )
    logging_steps: int = Field(
        1, ge=1, le=100_000, title="Log every (steps)", description="Steps between two points on the charts."
    )
    eval_steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        title="Evaluate every (steps)",
        description="Steps between two evaluations. Empty: only at the end.",
    )
    save_steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        title="Checkpoint every (steps)",
        description="Steps between two checkpoints. Empty: about every ten minutes.",
    )
    seed: int = Field(42, ge=0, le=2**32 - 1, title="Seed", description="The same seed, data and settings give the same run.")
    bf16: bool | None = Field(
        None,
        title="bf16",
        description="Computes in bfloat16. Empty: on, where the card has it. A CPU computes in float32 unless it is asked for.",
    )
    fp16: bool | None = Field(
        None, title="fp16", description="Computes in float16 with loss scaling. Empty: on, for older cards that have no bfloat16."
    )

    neftune_noise_alpha: float | None = Field(
        None,
        gt=0,
        le=100,
        title="NEFTune noise",
        description="Adds noise to the embeddings while training, so that answers are copied less by heart. 5 is usual. Empty: none.",
    )
    load_best_model_at_end: bool = Field(
        False,
        title="Keep the best",
        description="The result is the checkpoint with the lowest eval loss, not the last one. Needs rows held out for evaluation.",
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        le=1000,
        title="Early stopping after",
        description="Ends when the eval loss has not improved for so many evaluations. Empty: never.",
    )
    early_stopping_threshold: float = Field(
        0.0, ge=0, le=100, title="Smallest improvement", description="Of the eval loss, for early stopping: less counts as none."
    )

    @model_validator(mode="before")
    @classmethod
    def read_the_older_name(cls, data: Any) -> Any:
        """Reads gradient_checkpointing, the name of the switch before transformers 5.23."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "gradient_checkpointing" in data:
            older = data.pop("gradient_checkpointing")
            if data.setdefault("activation_checkpointing", older) != older:
                raise ValueError("gradient_checkpointing and activation_checkpointing are one switch; give one of them.")
        return data

    @model_validator(mode="after")
    def ends_some_time(self) -> Self:
        if self.num_train_epochs is None and self.max_steps is None:
            raise ValueError("Give epochs or steps: without either the run would have no end.")
        return self

    @model_validator(mode="after")
    def computes_in_one_type(self) -> Self:
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 exclude each other; choose one.")
        return self

    @property
    def effective_batch(self) -> int:
        """Rows that one optimizer step learns from, on one device."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps
