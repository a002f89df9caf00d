"""The optimizer: paged states on a GPU, their unpaged twin on a CPU, which has nothing to page to."""

from dataclasses import dataclass
from typing import Any

import torch

from worker.contract.optimizer import Optimizer, is_paged
from worker.contract.vram.stored import PAGED_FROM
from worker.qlora.precision import Device
from worker.qlora.schedule import schedule_arguments

UNPAGED_TWIN = {"paged_adamw_32bit": "adamw_torch", "paged_ademamix_32bit": "ademamix"}  # else the name without paged_


def choose_optimizer(optimizer: Optimizer, *, device: Device) -> tuple[str, str]:
    """The optimizer that runs, and a notice when it is not the one that was asked for."""
    if device.is_cuda or not is_paged(optimizer.optim):
        return optimizer.optim, ""
    twin = UNPAGED_TWIN.get(optimizer.optim, optimizer.optim.removeprefix("paged_"))
    return (
        twin,
        f"{optimizer.optim} pages its states out of GPU memory; on the CPU its unpaged twin {twin} runs, with the same arithmetic.",
    )


def optimizer_arguments(optimizer: Optimizer, *, optim: str, steps: int) -> dict[str, Any]:
    """The contract's fields as TrainingArguments."""
    return {
        "optim": optim,
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
        "lr_scheduler_type": optimizer.lr_scheduler_type,
        "lr_scheduler_kwargs": schedule_arguments(optimizer, steps=steps),
        "warmup_steps": int(optimizer.warmup_steps) if optimizer.warmup_steps >= 1 else optimizer.warmup_steps,
    }


@dataclass(frozen=True)
class OptimizerStates:
    """What the optimizer keeps beside the adapter."""

    tensors: int
    large_tensors: int
    paged: int
    total_bytes: int

    def in_words(self) -> str:
        return (
            f"Optimizer states: {self.tensors} tensors, {self.total_bytes / 1e6:.1f} MB; {self.paged} paged of "
            f"{self.large_tensors} with at least {PAGED_FROM:,} elements"
        )


def look_at_states(optimizer: Any) -> OptimizerStates:
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    tensors = [value for state in inner.state.values() for value in state.values() if torch.is_tensor(value) and value.numel() > 1]
    return OptimizerStates(
        tensors=len(tensors),
        large_tensors=sum(tensor.numel() >= PAGED_FROM for tensor in tensors),
        paged=sum(bool(getattr(tensor, "is_paged", False)) for tensor in tensors),
        total_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )
