"""What is learned from the rows: one block for each of TRL's trainers, with the fields of its config."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from worker.contract.dataset import RowFormat
from worker.contract.message import Message

BETA = "How far the model may move away from where it began: a small beta lets it move far."


class Sft(Message):
    """Learns to write what the rows say (trl.SFTTrainer)."""

    kind: Literal["sft"] = "sft"
    packing: bool = Field(
        False,
        title="Packing",
        description="Fills each row of a batch up to the max length with several rows of the dataset, kept apart in attention. "
        "A step then learns from more rows; on short rows set fewer rows a step.",
    )


class Dpo(Message):
    """Learns to prefer the chosen answer to the rejected one (trl.DPOTrainer)."""

    kind: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description=BETA)
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = Field(
        "sigmoid",
        title="Loss",
        description="sigmoid is DPO as published; ipo holds it back where all pairs are already told apart; "
        "robust expects some labels to be wrong (set label smoothing).",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, title="Label smoothing", description="Share of pairs that are probably the wrong way round."
    )


class Orpo(Message):
    """Learns the chosen answer and to prefer it, in one go and without a reference (trl.experimental.orpo.ORPOTrainer)."""

    kind: Literal["orpo"] = "orpo"
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="Weight of the preference beside the chosen answer's own loss.")


class Kto(Message):
    """Learns from single answers that are marked good or bad (trl.KTOTrainer)."""

    kind: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description=BETA)
    desirable_weight: float = Field(
        1.0, gt=0, le=100, title="Weight of good answers", description="Raise it when there are fewer good answers than bad ones."
    )
    undesirable_weight: float = Field(
        1.0, gt=0, le=100, title="Weight of bad answers", description="Raise it when there are fewer bad answers than good ones."
    )


class Reward(Message):
    """Learns to score answers as the pairs rank them (trl.RewardTrainer). The result is a scorer, not a model that writes."""

    kind: Literal["reward"] = "reward"
    center_rewards_coefficient: float | None = Field(
        None, ge=0, le=10, title="Centring", description="Pulls the mean score towards zero; 0.01 is usual. Empty: not at all."
    )


Objective = Annotated[Sft | Dpo | Orpo | Kto | Reward, Field(discriminator="kind")]
ACCEPTED_FORMATS: dict[str, tuple[RowFormat, ...]] = {
    "sft": ("messages", "prompt_completion", "text"),
    "dpo": ("preference",),
    "orpo": ("preference",),
    "kto": ("unpaired_preference", "preference"),
    "reward": ("preference",),
}
"""Rows that an objective can learn from; KTO takes a pair apart into a good and a bad answer."""
NAMES: dict[str, str] = {"sft": "SFT", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO", "reward": "Reward model"}
ROWS_IN_WORDS: dict[RowFormat, str] = {
    "messages": "conversations",
    "prompt_completion": "prompts with completions",
    "text": "plain text",
    "preference": "pairs of a chosen and a rejected answer",
    "unpaired_preference": "answers marked good or bad",
}


class NotLearned(NamedTuple):
    sentence: str
    advice: str


def why_not_learned(kind: str, format: str, *, dataset: str = "the dataset") -> NotLearned | None:
    """Why the objective cannot learn from rows of this format, and what would; None when it can."""
    accepted = ACCEPTED_FORMATS[kind]
    if format in accepted:
        return None
    wanted = _either([ROWS_IN_WORDS[each] for each in accepted])
    others = [NAMES[other] for other, formats in ACCEPTED_FORMATS.items() if format in formats]
    instead = f", or {_either(others)} for this one" if others else ""
    return NotLearned(
        f"{NAMES[kind]} learns from {wanted}; {dataset} has {rows_in_words(format)}.", f"Choose another dataset{instead}."
    )


def _either(words: list[str]) -> str:
    return " or ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])


def rows_in_words(format: str) -> str:
    """A stored format may be of a later version, and have no words here."""
    return next((words for known, words in ROWS_IN_WORDS.items() if known == format), format.replace("_", " "))


def sequences_of(kind: str) -> int:
    """Token sequences that one row makes: of a preference pair both answers, each after what was asked."""
    return 2 if kind in ("dpo", "orpo", "reward") else 1
