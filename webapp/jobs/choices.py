"""What a run learns and what it trains, as the form offers them: a name and one sentence each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.contract.objective import NAMES


@dataclass(frozen=True)
class Choice:
    value: str
    title: str
    help: str


def _objective(kind: str, help: str) -> Choice:
    return Choice(kind, NAMES[kind], help)


OBJECTIVES = (
    _objective("sft", "Learns to write what the rows say. Supervised fine-tuning: where nearly everyone begins."),
    _objective("dpo", "Learns from pairs to prefer the better of two answers, held close to the model it began as."),
    _objective("orpo", "Learns the better answer and to prefer it, in one run and without a second model to compare with."),
    _objective("kto", "Learns from single answers that somebody marked good or bad. Pairs work as well."),
    _objective("reward", "Learns to score answers as people ranked them. The result scores texts; it does not write any."),
)
FULL = "full"
METHODS = (
    Choice(
        "bitsandbytes_4bit",
        "QLoRA",
        "A small adapter beside the base model, which is kept in 4 bits: least memory, a little slower.",
    ),
    Choice(
        "bitsandbytes_8bit",
        "LoRA on 8 bits",
        "A small adapter; the base model in 8 bits: twice the memory of 4, closer to the original.",
    ),
    Choice(
        "none", "LoRA", "A small adapter; the base model as it was published, in 16 bits: no rounding, four times the memory of 4."
    ),
    Choice(FULL, "Full fine-tuning", "Every weight is trained: most memory, and the result is as large as the model."),
)


def quantization_kind(method: str) -> str:
    return "none" if method == FULL else method


def method_of(spec: Mapping[str, Any]) -> str:
    """Of a stored spec, or of some of its blocks; empty where they do not say."""
    if spec.get("finetuning_type") == "full":
        return FULL
    return str((spec.get("quantization") or {}).get("kind", ""))


def title_of(choices: tuple[Choice, ...], value: str) -> str:
    return next((choice.title for choice in choices if choice.value == value), value)
