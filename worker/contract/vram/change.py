"""The smallest change of the settings that makes a run fit: the one that changes the result least comes first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.contract.model_shape import ModelShape
from worker.contract.quantization import BitsAndBytes4Bit
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.execution import goes_packed
from worker.contract.vram.outlook import outlook
from worker.contract.vram.parts import RowLengths

SHORTEST = 128
LENGTHS = (32_768, 16_384, 8192, 6144, 4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256, SHORTEST)
RANKS = (256, 128, 64, 32, 16, 8, 4)


@dataclass(frozen=True)
class Change:
    """One change of the settings. `changes`: values by their path in the spec ("training.max_length")."""

    label: str
    detail: str
    changes: dict[str, Any]


def smallest_change(spec: FinetuneSpec, shape: ModelShape, *, card_bytes: int, rows: RowLengths | None = None) -> Change | None:
    """None when it fits as it is, or when no change known here makes it fit."""

    def fits(asked: FinetuneSpec) -> bool:
        return outlook(asked, shape, card_bytes=card_bytes, rows=rows).verdict != "too_large"

    if fits(spec):
        return None
    return next((change for change in _candidates(spec, shape, rows=rows) if fits(changed(spec, change.changes))), None)


def changed(spec: FinetuneSpec, changes: dict[str, Any]) -> FinetuneSpec:
    """The spec with the changes in it."""
    data = spec.model_dump()
    for path, value in changes.items():
        *blocks, name = path.split(".")
        inner = data
        for block in blocks:
            inner = inner[block]
        inner[name] = value
    return FinetuneSpec.model_validate(data)


def _candidates(spec: FinetuneSpec, shape: ModelShape, *, rows: RowLengths | None) -> Iterator[Change]:
    """What leaves the result as it is; then what changes how exactly it is reached; then what learns from less."""
    yield from _without_effect(spec, shape)
    yield from _optimizers(spec)
    yield from _quantised(spec)
    yield from _shorter(spec, rows=rows)
    yield from _less_trained(spec)
    yield from _together(spec)


def _without_effect(spec: FinetuneSpec, shape: ModelShape) -> Iterator[Change]:
    training = spec.training
    if spec.plan.execution == "plain" and goes_packed(
        spec.model_copy(update={"plan": spec.plan.model_copy(update={"execution": "auto"})}), shape
    ):
        yield Change("Automatic execution", "Rows end to end; the result stays the same.", {"plan.execution": "auto"})
    if goes_packed(spec, shape):
        return
    saving = {} if training.activation_checkpointing else {"training.activation_checkpointing": True}
    if saving:
        yield Change("Activation checkpointing", "About a third slower; the result stays the same.", dict(saving))
    fewest = 2 if spec.objective.kind == "kto" else 1  # it compares the rows of a pass with one another
    for rows in range(training.per_device_train_batch_size - 1, fewest - 1, -1):
        if training.effective_batch % rows == 0:
            passes = training.effective_batch // rows
            detail = f"{passes} passes of {rows} rows make the same effective batch of {training.effective_batch}."
            yield Change(
                f"{rows} row{'' if rows == 1 else 's'} a pass",
                detail,
                {**saving, "training.per_device_train_batch_size": rows, "training.gradient_accumulation_steps": passes},
            )


def _optimizers(spec: FinetuneSpec) -> Iterator[Change]:
    optim = spec.optimizer.optim
    if optim == "paged_adamw_8bit":
        return
    if not optim.startswith("paged_"):
        yield Change(
            "Paged AdamW", "Its states move to the host's memory when the GPU is full.", {"optimizer.optim": "paged_adamw_32bit"}
        )
    yield Change("Paged 8-bit AdamW", "States take a quarter of the memory.", {"optimizer.optim": "paged_adamw_8bit"})


QLORA: dict[str, Any] = {"finetuning_type": "lora", "quantization": BitsAndBytes4Bit().model_dump()}


def _quantised(spec: FinetuneSpec) -> Iterator[Change]:
    if spec.is_full:
        yield Change(
            "LoRA instead of all weights", "Trains an adapter; the base model stays as it is.", {"finetuning_type": "lora"}
        )
    if not isinstance(spec.quantization, BitsAndBytes4Bit):
        yield Change("QLoRA: base model in 4 bits", "About a quarter of the weights' memory.", QLORA)
    elif not spec.quantization.bnb_4bit_use_double_quant:
        yield Change("Double quantisation", "0.37 bit less for each weight.", {"quantization.bnb_4bit_use_double_quant": True})


def _shorter(spec: FinetuneSpec, *, rows: RowLengths | None) -> Iterator[Change]:
    for length in LENGTHS:
        if length < min(spec.training.max_length, rows.longest if rows else spec.training.max_length):
            yield Change(f"Max length {length:,}", "Longer rows are cut at the end.", {"training.max_length": length})


def _less_trained(spec: FinetuneSpec) -> Iterator[Change]:
    if spec.is_full:
        return
    for r in RANKS:
        if r < spec.lora.r:
            yield Change(f"Rank {r}", "A smaller adapter, with smaller gradients and states.", {"lora.r": r})
    if spec.lora.target_modules in ("auto", "attention"):
        yield Change("Adapters on q and v only", "As LoRA was first published.", {"lora.target_modules": "q_and_v"})


def _together(spec: FinetuneSpec) -> Iterator[Change]:
    """Several at once, where none alone is enough."""
    base: dict[str, Any] = {"optimizer.optim": "paged_adamw_8bit", "training.activation_checkpointing": True}
    base |= {} if isinstance(spec.quantization, BitsAndBytes4Bit) and not spec.is_full else QLORA
    for length in (spec.training.max_length, *(length for length in LENGTHS if length < spec.training.max_length)):
        changes = {
            **base,
            "training.max_length": length,
            "training.per_device_train_batch_size": 1,
            "training.gradient_accumulation_steps": spec.training.effective_batch,
        }
        yield Change(
            f"QLoRA, one row a pass, max length {length:,}", "With paged 8-bit AdamW and activation checkpointing.", changes
        )
