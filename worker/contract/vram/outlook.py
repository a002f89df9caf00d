"""Does a run fit a card, and what is the smallest change that makes it fit?"""

from dataclasses import dataclass
from typing import Any, Literal

from worker.contract.model_shape import ModelShape
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.parts import MemoryParts, RowLengths, memory_parts

Verdict = Literal["fits", "tight", "too_large"]
TIGHT = 0.08  # of the card left: less is tight


@dataclass(frozen=True)
class Outlook:
    """Of one run on one card."""

    verdict: Verdict
    parts: MemoryParts
    plan: ExecutionPlan
    card_bytes: int
    sentence: str

    @property
    def free_bytes(self) -> int:
        """Below zero: so much is missing."""
        return self.card_bytes - self.parts.total


@dataclass(frozen=True)
class Change:
    """One change of the settings that makes a run fit. `changes`: values by their path in the spec ("training.max_length")."""

    label: str
    detail: str
    changes: dict[str, Any]


def estimate_bytes(spec: FinetuneSpec, shape: ModelShape | None, *, rows: RowLengths | None = None) -> int | None:
    """What the run needs of a GPU at least; None while nobody has looked at the model."""
    return memory_parts(spec, shape, rows=rows).total if shape else None


def outlook(spec: FinetuneSpec, shape: ModelShape, *, card_bytes: int, rows: RowLengths | None = None) -> Outlook:
    plan = ExecutionPlan(kind="plain", passes=PassPlan.as_asked(spec.training))
    parts = memory_parts(spec, shape, rows=rows, plan=plan, card_bytes=card_bytes)
    left = card_bytes - parts.total
    verdict: Verdict = "too_large" if left < 0 else "tight" if left < TIGHT * card_bytes else "fits"
    return Outlook(verdict, parts, plan, card_bytes, sentence_of(verdict, need=parts.total, card_bytes=card_bytes))


def sentence_of(verdict: Verdict, *, need: int, card_bytes: int) -> str:
    return f"Needs about {need / 1e9:.1f} GB of {card_bytes / 1e9:.1f} GB."


def smallest_change(spec: FinetuneSpec, shape: ModelShape, *, card_bytes: int, rows: RowLengths | None = None) -> Change | None:
    """None when it fits as it is, or when no change that is known makes it fit."""
    if outlook(spec, shape, card_bytes=card_bytes, rows=rows).verdict != "too_large":
        return None
    length = spec.training.max_length
    while length >= 128:
        length //= 2
        less = spec.model_copy(update={"training": spec.training.model_copy(update={"max_length": length})})
        if outlook(less, shape, card_bytes=card_bytes, rows=rows).verdict != "too_large":
            return Change(f"Max length {length:,}", "Longer rows are cut.", {"training.max_length": length})
    return None
