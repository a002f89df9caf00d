"""Does a run fit a card?"""

from dataclasses import dataclass
from typing import Literal

from worker.contract.model_shape import ModelShape
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.estimate import memory_parts, plan_for, rows_of
from worker.contract.vram.parts import MemoryParts, RowLengths

Verdict = Literal["fits", "tight", "too_large"]
TIGHT = 0.08  # of the card: less left is tight


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
        return self.card_bytes - self.parts.needed


def estimate_bytes(spec: FinetuneSpec, shape: ModelShape | None, *, rows: RowLengths | None = None) -> int | None:
    """What the run needs of a GPU at least, under its thriftiest plan; None while nobody has looked at the model."""
    return memory_parts(spec, shape, rows=rows, card_bytes=0).needed if shape else None


def outlook(spec: FinetuneSpec, shape: ModelShape, *, card_bytes: int, rows: RowLengths | None = None) -> Outlook:
    plan = plan_for(spec, shape, rows=rows_of(spec, rows), card_bytes=card_bytes)
    parts = memory_parts(spec, shape, rows=rows, plan=plan)
    easy = _easiest(spec, shape, plan=plan, rows=rows) <= (1 - TIGHT) * card_bytes
    verdict: Verdict = "too_large" if parts.needed > card_bytes else "fits" if easy else "tight"
    return Outlook(verdict, parts, plan, card_bytes, _sentence(verdict, plan=plan, parts=parts, card_bytes=card_bytes))


def _easiest(spec: FinetuneSpec, shape: ModelShape, *, plan: ExecutionPlan, rows: RowLengths | None) -> int:
    """What it needs without computing anything twice: a row at a time. TRL's way is run as it is asked for."""
    if plan.kind == "plain":
        return memory_parts(spec, shape, rows=rows, plan=plan).needed
    passes = PassPlan(
        per_device_train_batch_size=1, gradient_accumulation_steps=plan.passes.effective_batch, activation_checkpointing=False
    )
    return memory_parts(spec, shape, rows=rows, plan=ExecutionPlan(kind="packed", passes=passes)).needed


def _sentence(verdict: Verdict, *, plan: ExecutionPlan, parts: MemoryParts, card_bytes: int) -> str:
    need, card = parts.needed / 1e9, card_bytes / 1e9
    if verdict == "too_large":
        return f"Does not fit: it needs {need:.1f} GB and the GPU has {card:.1f} GB, {need - card:.1f} GB too little."
    left = f"{need:.1f} of {card:.1f} GB, {card - need:.1f} GB left"
    if verdict == "fits":
        return f"Fits: {left}."
    if plan.kind == "packed" and plan.recomputed_layers:
        return f"Fits by computing {plan.recomputed_layers} layers again on the way back, which is slower: {left}."
    return f"Fits tightly: {left}."
