"""The adapter: peft's LoraConfig."""

from typing import Literal

from pydantic import Field, field_validator

from worker.contract.message import Message

SHORTCUTS = ("auto", "attention", "q_and_v")


class Lora(Message):
    r: int = Field(
        16,
        ge=1,
        le=1024,
        title="Rank (r)",
        description="Inner size of the two adapter matrices. 8 to 16 suits a style or a format, 32 to 64 new skills; "
        "memory and file size grow with it.",
    )
    lora_alpha: int = Field(
        32,
        ge=1,
        le=8192,
        title="Alpha",
        description="The adapter is scaled by alpha / r. Twice the rank is the usual start; lower it if the loss jumps.",
    )
    lora_dropout: float = Field(
        0.05,
        ge=0,
        lt=1,
        title="Dropout",
        description="Share of adapter inputs that is dropped at random. 0.05 for small datasets, 0 for large ones.",
    )
    use_dora: bool = Field(
        False,
        title="DoRA",
        description="Trains the length of each weight column beside its direction: a little better at small ranks, and slower.",
    )
    use_rslora: bool = Field(
        False, title="rsLoRA", description="Scales the adapter by alpha / √r instead of alpha / r, so that high ranks still learn."
    )
    target_modules: Literal["auto", "attention", "q_and_v"] | tuple[str, ...] = Field(
        "auto",
        title="Target modules",
        description="Layers that get an adapter. auto: every linear layer of the model except the output head. "
        "attention: those of the attention only. q_and_v: queries and values only, as LoRA was first published. "
        "Or names, separated by commas: q_proj, v_proj.",
    )
    bias: Literal["none", "all", "lora_only"] = Field(
        "none",
        title="Bias",
        description="Which bias terms are trained too. none keeps the base model unchanged without the adapter.",
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def names_from_text(cls, value: object) -> object:
        """Reads `q_proj, v_proj` as a list; an empty text means auto."""
        if not isinstance(value, str) or value in SHORTCUTS:
            return value
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        return names or "auto"

    @field_validator("target_modules")
    @classmethod
    def names_are_given(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if value == ():
            raise ValueError("Give at least one layer name, or auto for every linear layer.")
        return value
