"""What a run learns and what it trains, as the form offers them: a name and one sentence each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.contract.dataset import RowFormat
from worker.contract.objective import ACCEPTED_FORMATS


@dataclass(frozen=True)
class Choice:
    value: str
    title: str
    help: str


OBJECTIVES = (
    Choice("sft", "SFT", "Learns to write what the rows say. Supervised fine-tuning: where nearly everyone begins."),
    Choice("dpo", "DPO", "Learns from pairs to prefer the better of two answers, held close to the model it began as."),
    Choice("orpo", "ORPO", "Learns the better answer and to prefer it, in one run and without a second model to compare with."),
    Choice("kto", "KTO", "Learns from single answers that somebody marked good or bad. Pairs work as well."),
    Choice(
        "reward", "Reward model", "Learns to score answers as people ranked them. The result scores texts; it does not write any."
    ),
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
FORMATS: dict[RowFormat, str] = {
    "messages": "conversations",
    "prompt_completion": "prompts with completions",
    "text": "plain text",
    "preference": "pairs of a chosen and a rejected answer",
    "unpaired_preference": "answers marked good or bad",
}


def quantization_kind(method: str) -> str:
    return "none" if method == FULL else method


def method_of(spec: Mapping[str, Any]) -> str:
    """Of a stored spec, or of some of its blocks; empty where they do not say."""
    if spec.get("finetuning_type") == "full":
        return FULL
    return str((spec.get("quantization") or {}).get("kind", ""))


def title_of(choices: tuple[Choice, ...], value: str) -> str:
    return next((choice.title for choice in choices if choice.value == value), value)


def format_words(name: str) -> str:
    return FORMATS.get(name, name.replace("_", " "))  # type: ignore[call-overload, no-any-return]  # a stored name may be newer


def wrong_format(objective: str, *, rows_format: str, dataset: str) -> str:
    """Why the objective cannot learn from such rows, and what would; empty if it can, or while the format is not known."""
    accepted = ACCEPTED_FORMATS[objective]
    if not rows_format or rows_format in accepted:
        return ""
    others = [title_of(OBJECTIVES, name) for name, formats in ACCEPTED_FORMATS.items() if rows_format in formats]
    wanted = " or ".join(FORMATS[name] for name in accepted)
    return (
        f"{title_of(OBJECTIVES, objective)} learns from {wanted}; {dataset} has {format_words(rows_format)}. "
        f"Choose another dataset, or {' or '.join(others)} for this one."
    )
