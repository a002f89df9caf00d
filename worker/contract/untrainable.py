"""What no trainer could do, though each block of the spec is right by itself: said before a worker takes it, and by the worker. Pure."""

from dataclasses import dataclass

from worker.contract.spec import FinetuneSpec


@dataclass(frozen=True)
class Untrainable:
    sentence: str
    advice: str
    path: str
    """Of the field that mends it."""


KTO_ROWS = Untrainable(
    "KTO compares the rows of one pass with one another, so it needs at least two rows a pass.",
    "Set the rows a pass to 2 or more and the passes a step accordingly.",
    "training.per_device_train_batch_size",
)
KTO_FULL = Untrainable(
    "KTO with full fine-tuning would need a second copy of the base model as its reference.",
    "Use LoRA, where the base model itself is the reference, or DPO, whose reference is computed beforehand.",
    "finetuning_type",
)


def why_not_trained(spec: FinetuneSpec) -> Untrainable | None:
    """None when it can be."""
    if spec.objective.kind != "kto":
        return None
    if spec.is_full:
        return KTO_FULL
    return KTO_ROWS if spec.training.per_device_train_batch_size < 2 else None
