"""How a run's steps are executed, in words: the Plan panel of the job page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from worker.contract.plan import ExecutionPlan


@dataclass(frozen=True)
class ExecutionTold:
    headline: str
    layers: str
    reasons: tuple[str, ...]


def execution_told(plan: Mapping[str, Any]) -> ExecutionTold | None:
    """None when the worker told of none, or of one that this version cannot read."""
    try:
        told = ExecutionPlan.model_validate(plan["execution"]) if plan.get("execution") else None
    except ValidationError:
        return None
    return ExecutionTold(_headline(told), _layers(told), told.reasons) if told else None


def _headline(plan: ExecutionPlan) -> str:
    rows, passes = plan.passes.per_device_train_batch_size, plan.passes.gradient_accumulation_steps
    counted = f"{rows:,} {'row' if rows == 1 else 'rows'} a pass, {'one pass' if passes == 1 else f'{passes:,} passes'} a step"
    if plan.kind == "packed":
        return f"Packed: {counted}; rows are laid end to end, without padding"
    return f"Plain, TRL's own way: {counted}; rows are padded to the longest of their pass"


def _layers(plan: ExecutionPlan) -> str:
    if plan.kind == "plain":
        is_on = plan.passes.activation_checkpointing
        return "Activations of every layer are computed again on the way back" if is_on else "All activations are kept"
    if not plan.recomputed_layers:
        return "All activations are kept: no layer is computed twice"
    host = ", their inputs waiting in the host's memory" if plan.on_host else ""
    pieces = f"; feed-forwards take {plan.feed_forward_tokens:,} tokens at a time" if plan.feed_forward_tokens else ""
    layers = f"{plan.recomputed_layers:,} {'layer is' if plan.recomputed_layers == 1 else 'layers are'}"
    return f"{layers} computed again on the way back, to save memory{host}{pieces}"
