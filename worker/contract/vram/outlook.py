"""Does a run fit a card?"""

from dataclasses import dataclass
from typing import Literal

from worker.contract.model_shape import ModelShape
from worker.contract.plan import ExecutionPlan
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
    verdict = _verdict(plan, parts=parts, card_bytes=card_bytes)
    return Outlook(verdict, parts, plan, card_bytes, _sentence(verdict, plan=plan, parts=parts, card_bytes=card_bytes))


def _verdict(plan: ExecutionPlan, *, parts: MemoryParts, card_bytes: int) -> Verdict:
    left = card_bytes - parts.needed
    if left < 0:
        return "too_large"
    recomputes = plan.kind == "packed" and plan.recomputed_layers > 0
    return "tight" if recomputes or left < TIGHT * card_bytes else "fits"


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
