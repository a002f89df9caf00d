"""How the rows of one optimizer step are run. None of it changes the result: the effective batch stays what the user asked for."""

from typing import Literal, Self

from pydantic import Field, model_validator

from worker.contract.message import Message
from worker.contract.training import Training


class PassPlan(Message):
    """rows a pass × passes a step = the effective batch, or one process's share of it where several share it."""

    per_device_train_batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    activation_checkpointing: bool

    @classmethod
    def as_asked(cls, training: Training, *, num_processes: int = 1) -> Self:
        """Of one process's rows of a step: as many a pass as asked for, or fewer where they do not divide its share."""
        share = max(training.effective_batch // num_processes, 1)  # what cannot be shared out evenly is refused elsewhere
        rows = max(n for n in range(1, min(training.per_device_train_batch_size, share) + 1) if share % n == 0)
        return cls(
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=share // rows,
            activation_checkpointing=training.activation_checkpointing,
        )

    @property
    def effective_batch(self) -> int:
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def smaller(self, *, asked: "PassPlan", keeps_rows: bool = False) -> "PassPlan | None":
        """What to try after CUDA ran out of memory under this plan, when `asked` was the first.

        Half the rows a pass first (costs little speed), then activation checkpointing, then halves again. Rows a pass always
        divide the effective batch. None: one row a pass with checkpointing did not fit, and nothing is smaller.
        `keeps_rows`: the loss is made of the rows of one pass (KTO), so only checkpointing is left.
        """
        if keeps_rows:
            return None if self.activation_checkpointing else self.model_copy(update={"activation_checkpointing": True})
        rows = self.per_device_train_batch_size
        was_halved = rows < asked.per_device_train_batch_size
        if not self.activation_checkpointing and (was_halved or rows == 1):
            return self.model_copy(update={"activation_checkpointing": True})
        if rows == 1:
            return None
        fewer = max(n for n in range(1, rows // 2 + 1) if self.effective_batch % n == 0)
        passes = self.effective_batch // fewer
        return self.model_copy(update={"per_device_train_batch_size": fewer, "gradient_accumulation_steps": passes})


class Plan(Message):
    """How the rows of a step are run is Nibble's to choose, unless the user wants TRL's own way."""

    execution: Literal["auto", "plain"] = Field(
        "auto",
        title="Execution",
        description="auto: rows end to end, as many in a pass as the memory allows, layers recomputed only where needed. "
        "plain: TRL's own way, with rows a pass and activation checkpointing as set above. The result is the same.",
    )
    keep_unpacked: bool = Field(
        True,
        title="Keep weights unpacked",
        description="4-bit weights are kept in 16 bits as well, as far as there is room on the GPU: steps are up to a third faster, "
        "and the result is the same to the last bit. Off: the run takes what it needs, as when memories are compared.",
    )
    num_processes: int = Field(
        1,
        ge=1,
        le=64,
        title="GPUs",
        description="The rows of each step are shared out to so many GPUs of one machine. The effective batch stays what it is.",
    )
    fsdp: bool = Field(
        False,
        title="Split the base model",
        description="Each GPU keeps a part of the base model and fetches the rest layer by layer (FSDP): "
        "for models that do not fit on one GPU. Otherwise every GPU has all of it, which is faster.",
    )

    @model_validator(mode="after")
    def splits_over_several(self) -> Self:
        if self.fsdp and self.num_processes == 1:
            raise ValueError("Splitting the base model needs at least two GPUs.")
        return self


class ExecutionPlan(Message):
    """How a run's steps are executed; told before the first step, with its arithmetic in words."""

    kind: Literal["packed", "plain"]
    """packed: rows end to end through Nibble's own decoder pass; plain: TRL's forward, rows padded to the longest of a pass."""
    passes: PassPlan
    recomputed_layers: int = Field(0, ge=0)
    """Decoder layers whose activations are computed again on the way back (packed)."""
    on_host: bool = False
    """The inputs of those layers wait in the host's memory."""
    feed_forward_tokens: int | None = Field(None, ge=1)
    """A recomputed feed-forward takes so many tokens at a time; none: all."""
    head_tokens: int = Field(1024, ge=1)
    """Tokens whose logits exist at once."""
    unpacked_layers: int = Field(0, ge=0)
    """Decoder layers whose 4-bit weights are kept in the compute type as well (packed): nothing waits for them to be unpacked."""
    reasons: tuple[str, ...] = ()
