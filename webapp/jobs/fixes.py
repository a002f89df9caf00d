"""Changes of settings that mend a failure, each named by its key in the address of a clone. Pure.

A maker looks at what ran and answers None where its change would change nothing, break a bound, or was tried already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.contract.plan import PassPlan
from worker.contract.spec import FinetuneSpec

MOST_DROPOUT = 0.3
LONGEST_WARM_UP = 0.3
MOST_PASSES = 4096  # the contract's bound
SAME_RESULT = "Each step still learns from the same rows, so the result stays the same."
SHORTEST_ROW = 64  # tokens; below it hardly a question and its answer fit


@dataclass(frozen=True)
class Fix:
    key: str
    label: str
    detail: str
    changes: Mapping[str, Any] = field(hash=False)
    """Paths of the spec ("lora.r") and their new values."""


@dataclass(frozen=True)
class Situation:
    """What ran when it failed."""

    spec: FinetuneSpec
    plan: PassPlan
    """The smallest that was tried; smaller than asked when memory ran out before."""
    longest: int
    """Tokens that the base model reads at most."""


Maker = Callable[[Situation], Fix | None]
MAKERS: dict[str, Maker] = {}


def maker(key: str) -> Callable[[Maker], Maker]:
    def keep(make: Maker) -> Maker:
        MAKERS[key] = make
        return make

    return keep


def fixes_of(situation: Situation, keys: tuple[str, ...]) -> tuple[Fix, ...]:
    made = (MAKERS[key](situation) for key in keys)
    return tuple(fix for fix in made if fix is not None)


def changed(spec: FinetuneSpec, changes: Mapping[str, Any]) -> FinetuneSpec:
    """The spec with those changes, checked by the contract. Another kind of a block starts from that kind's defaults."""
    stored = spec.model_dump(mode="json")
    for path, value in sorted(changes.items(), key=lambda change: not change[0].endswith(".kind")):
        group, _, name = path.partition(".")
        if name == "kind":
            stored[group] = {}
        if name:
            stored[group][name] = value
        else:
            stored[group] = value
    return FinetuneSpec.model_validate(stored)


@maker("lower-rate")
def lower_rate(now: Situation) -> Fix | None:
    rate = now.spec.optimizer.learning_rate
    lower = float(f"{rate / 10:.3g}")
    detail = "The usual cause: steps that are too long leave the good region, and the next ones are longer still."
    return Fix("lower-rate", f"Learning rate {lower:g} instead of {rate:g}", detail, {"optimizer.learning_rate": lower})


@maker("longer-warm-up")
def longer_warm_up(now: Situation) -> Fix | None:
    before = now.spec.optimizer.warmup_steps
    after = before * 2 if before >= 1 else min(LONGEST_WARM_UP, max(0.1, before * 2))
    if after <= before or after > 1_000_000:
        return None
    detail = "The first steps are the wildest: the optimizer has not yet seen how large the gradients are."
    return Fix(
        "longer-warm-up", f"Warm-up {_warm_up(after)} instead of {_warm_up(before)}", detail, {"optimizer.warmup_steps": after}
    )


def _warm_up(steps: float) -> str:
    if steps >= 1:
        return f"over {steps:,.0f} {'step' if steps == 1 else 'steps'}"
    return f"over {100 * steps:g} % of the steps" if steps else "none"


@maker("lower-rank")
def lower_rank(now: Situation) -> Fix | None:
    r, alpha = now.spec.lora.r, now.spec.lora.lora_alpha
    if r < 2 or now.spec.is_full:
        return None
    lower, scaled = r // 2, max(1, alpha // 2)
    detail = "A smaller adapter learns more calmly and needs less memory; it also holds less."
    label = f"Rank {lower} and alpha {scaled} instead of {r} and {alpha}"
    return Fix("lower-rank", label, detail, {"lora.r": lower, "lora.lora_alpha": scaled})


@maker("lower-alpha")
def lower_alpha(now: Situation) -> Fix | None:
    alpha = now.spec.lora.lora_alpha
    if alpha < 2 or now.spec.is_full:
        return None
    detail = "The adapter's part in each layer is scaled by alpha / r: half of it makes each step half as strong."
    return Fix("lower-alpha", f"Alpha {alpha // 2} instead of {alpha}", detail, {"lora.lora_alpha": alpha // 2})


@maker("more-dropout")
def more_dropout(now: Situation) -> Fix | None:
    before = now.spec.lora.lora_dropout
    after = round(min(MOST_DROPOUT, max(0.05, before * 2)), 4)
    if after <= before or now.spec.is_full:
        return None
    detail = "Steadies the adapter on small or repetitive datasets."
    return Fix("more-dropout", f"Dropout {after:g} instead of {before:g}", detail, {"lora.lora_dropout": after})


@maker("fewer-epochs")
def fewer_epochs(now: Situation) -> Fix | None:
    epochs = now.spec.training.num_train_epochs
    if now.spec.training.max_steps or epochs is None or epochs <= 1:  # steps win over epochs
        return None
    fewer = float(max(1, round(epochs / 2)))
    detail = "Ends before the adapter knows the rows by heart, if it went wrong late in the run."
    words = "epoch" if fewer == 1 else "epochs"
    return Fix("fewer-epochs", f"{fewer:g} {words} instead of {epochs:g}", detail, {"training.num_train_epochs": fewer})


@maker("smaller-passes")
def smaller_passes(now: Situation) -> Fix | None:
    """The plan is of one GPU's share of a step; the spec's passes are counted for all of them together."""
    rows, training, is_kto = now.plan.per_device_train_batch_size, now.spec.training, now.spec.objective.kind == "kto"
    batch, fewest = training.effective_batch, 2 if is_kto else 1
    fewer = max((n for n in range(fewest, rows // 2 + 1) if now.plan.effective_batch % n == 0), default=0)
    if not fewer or batch // fewer > MOST_PASSES:
        return None
    same = "KTO compares the rows of one pass with one another, so its result changes a little." if is_kto else SAME_RESULT
    before = f"{training.per_device_train_batch_size:,} and {training.gradient_accumulation_steps:,}"
    return Fix(
        "smaller-passes",
        f"{fewer:,} rows a pass and {batch // fewer:,} passes a step instead of {before}",
        f"Needs less memory at once. {same}",
        {"training.per_device_train_batch_size": fewer, "training.gradient_accumulation_steps": batch // fewer},
    )


@maker("activation-checkpointing")
def activation_checkpointing(now: Situation) -> Fix | None:
    if now.spec.training.activation_checkpointing or now.plan.activation_checkpointing:
        return None
    detail = "Much less memory, about a third slower. The result stays the same."
    return Fix("activation-checkpointing", "Activation checkpointing on", detail, {"training.activation_checkpointing": True})


@maker("shorter-rows")
def shorter_rows(now: Situation) -> Fix | None:
    longest = now.spec.training.max_length
    shorter = max(SHORTEST_ROW, longest // 2)
    if shorter >= longest:
        return None
    detail = "Longer rows are cut at the end: this changes what is learned, where rows are that long."
    return Fix("shorter-rows", f"Rows up to {shorter:,} tokens instead of {longest:,}", detail, {"training.max_length": shorter})


@maker("longer-rows")
def longer_rows(now: Situation) -> Fix | None:
    before = now.spec.training.max_length
    after = min(before * 2, now.longest)
    if after <= before:
        return None
    detail = "If the answers begin after the cut, they are trained on once more of each row is read. Needs more memory."
    return Fix("longer-rows", f"Rows up to {after:,} tokens instead of {before:,}", detail, {"training.max_length": after})


@maker("whole-rows")
def whole_rows(now: Situation) -> Fix | None:
    if now.spec.data.train_on == "whole_row" or now.spec.objective.kind != "sft":
        return None
    detail = "Every token counts, the questions' too: for plain text, or a chat template that cannot tell the turns apart."
    return Fix("whole-rows", "Train on whole rows instead of the assistant's words", detail, {"data.train_on": "whole_row"})


@maker("use-lora")
def use_lora(now: Situation) -> Fix | None:
    if not now.spec.is_full:
        return None
    detail = "An adapter of a few per cent is trained instead of every weight: gradients and optimizer states shrink as much."
    return Fix("use-lora", "LoRA instead of full fine-tuning", detail, {"finetuning_type": "lora"})


@maker("use-8-bits")
def use_8_bits(now: Situation) -> Fix | None:
    if now.spec.is_full or now.spec.quantization.kind != "none":
        return None
    detail = "The frozen base model in 8 bits takes half of the memory, and stays closer to the original than in 4."
    return Fix("use-8-bits", "LoRA on 8 bits instead of LoRA", detail, {"quantization.kind": "bitsandbytes_8bit"})


@maker("use-qlora")
def use_qlora(now: Situation) -> Fix | None:
    if now.spec.quantization.load_in_4bit:
        return None
    share = "half" if now.spec.quantization.kind == "bitsandbytes_8bit" else "about a quarter"
    adapter: dict[str, Any] = {"finetuning_type": "lora"} if now.spec.is_full else {}
    before = now.spec.method.replace("Full", "full")
    detail = f"The frozen base model in 4 bits takes {share} of the memory."
    return Fix("use-qlora", f"QLoRA instead of {before}", detail, {**adapter, "quantization.kind": "bitsandbytes_4bit"})


@maker("smaller-states")
def smaller_states(now: Situation) -> Fix | None:
    """An adapter's states are small in any case."""
    if not now.spec.is_full or now.spec.optimizer.optim.endswith("8bit"):
        return None
    detail = "The optimizer keeps its two numbers a weight in 8 bits instead of 32: 2 bytes instead of 8."
    label = f"Optimizer paged_adamw_8bit instead of {now.spec.optimizer.optim}"
    return Fix("smaller-states", label, detail, {"optimizer.optim": "paged_adamw_8bit"})


@maker("all-layers")
def all_layers(now: Situation) -> Fix | None:
    asked = now.spec.lora.target_modules
    if asked == "auto" or now.spec.is_full:
        return None
    detail = "Every linear layer that this model has, except the output head, gets an adapter."
    named = asked if isinstance(asked, str) else ", ".join(asked)
    return Fix("all-layers", f"Target modules auto instead of {named}", detail, {"lora.target_modules": "auto"})


@maker("usual-precision")
def usual_precision(now: Situation) -> Fix | None:
    training = now.spec.training
    if training.bf16 is None and training.fp16 is None:
        return None
    said = " and ".join(
        f"{name} {'on' if value else 'off'}"
        for name, value in (("bf16", training.bf16), ("fp16", training.fp16))
        if value is not None
    )
    detail = "bfloat16 where the card has it, float16 with loss scaling on older cards."
    return Fix(
        "usual-precision", f"Precision as the card has it instead of {said}", detail, {"training.bf16": None, "training.fp16": None}
    )


@maker("rarer-checkpoints")
def rarer_checkpoints(now: Situation) -> Fix | None:
    steps = now.spec.training.save_steps
    if steps is None or steps * 2 > 1_000_000:
        return None
    detail = "Fewer files on the worker's disk at once; a restart repeats more steps."
    return Fix(
        "rarer-checkpoints",
        f"A checkpoint every {steps * 2:,} steps instead of {steps:,}",
        detail,
        {"training.save_steps": steps * 2},
    )
