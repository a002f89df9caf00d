"""What to change after a run diverged, most promising first: chosen by when it happened and by the settings it had.

Instability is mended by a lower learning rate or alpha and by some dropout, too much capacity by a lower rank or fewer epochs.
"""

from worker.contract.spec import FinetuneSpec

EARLY_STEPS = 20
USUAL_DROPOUT = 0.05
LARGE_RANK = 64
MANY_EPOCHS = 3


def advice_for(spec: FinetuneSpec, *, step: int, max_steps: int, epoch: float, names_rows: bool) -> str:
    parts = [
        _learning_rate(spec),
        _alpha(spec),
        _warm_up(spec, step=step, max_steps=max_steps),
        _dropout(spec),
        _rank(spec),
        _epochs(epoch),
        _number_type(spec),
        "Look at the rows that the failure names: an odd one can do this by itself." if names_rows else "",
    ]
    return " ".join(part for part in parts if part)


def _learning_rate(spec: FinetuneSpec) -> str:
    rate = spec.optimizer.learning_rate
    return f"Lower the learning rate: {rate / 10:.2g} instead of {rate:.2g} is a good try."


def _alpha(spec: FinetuneSpec) -> str:
    """Every update of the adapter is scaled by alpha / r."""
    if spec.lora.lora_alpha <= 2 * spec.lora.r:
        return ""
    return f"Lower alpha from {spec.lora.lora_alpha} to {2 * spec.lora.r}, twice the rank: it multiplies every update."


def _warm_up(spec: FinetuneSpec, *, step: int, max_steps: int) -> str:
    asked = spec.optimizer.warmup_steps
    steps = int(asked) if asked >= 1 else round(asked * max_steps)
    if step > max(EARLY_STEPS, 2 * steps):
        return ""
    return f"Lengthen the warm-up (now {steps} steps): it went wrong while the learning rate had just risen."


def _dropout(spec: FinetuneSpec) -> str:
    dropout = spec.lora.lora_dropout
    if dropout >= USUAL_DROPOUT:
        return ""
    return f"Use some dropout ({USUAL_DROPOUT} instead of {dropout:g})."


def _rank(spec: FinetuneSpec) -> str:
    return f"Lower the rank from {spec.lora.r} to {spec.lora.r // 4}." if spec.lora.r >= LARGE_RANK else ""


def _epochs(epoch: float) -> str:
    return f"Train fewer epochs: it held for {epoch:.1f} of them." if epoch > MANY_EPOCHS else ""


def _number_type(spec: FinetuneSpec) -> str:
    return "Use bf16 instead of fp16, which overflows above 65,504." if spec.training.fp16 else ""
