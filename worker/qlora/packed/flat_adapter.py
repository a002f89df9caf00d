"""All adapter weights in one float32 buffer and their gradients in another, so that one kernel does what took 448 in a 7B model.

Layers that read the same input lie side by side, A matrices first: a group's A is one matrix without a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupSlices:
    """One group's part of the buffers. A of its adapted layers: (sum of ranks, in); B of each: (out, r).

    `spans`: which columns of the group's output each adapted layer makes. A layer without an adapter has none.
    """

    weights: Tensor
    ranks: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    outs: tuple[int, ...]
    """Of all layers of the group, adapted or not."""
    ins: int
    grad_a: Tensor
    grad_b: tuple[Tensor, ...]
    scaling: float

    def cast(self, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A and the Bs in the compute type, by one kernel. Fresh each time: there is no copy that could grow stale."""
        whole = self.weights.to(dtype)
        rows = sum(self.ranks)
        a, rest = whole[: rows * self.ins].view(rows, self.ins), whole[rows * self.ins :]
        shapes = [(end - begin, r) for (begin, end), r in zip(self.spans, self.ranks, strict=True)]
        parts = rest.split([out * r for out, r in shapes])
        return a, tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))


class FlatAdapter:
    """Takes the weights of PEFT's LoRA layers over: afterwards each is a view of `weights`, its gradient a view of `grads`.

    `others`: what else is trained, the score head of a reward model.
    """

    def __init__(self, groups: Sequence[Sequence[Any]], *, adapter: str, others: Sequence[Tensor] = ()) -> None:
        tensors = [*(weight for group in groups for weight in _weights_of(group, adapter)), *others]
        device = tensors[0].device
        count = sum(weight.numel() for weight in tensors)
        self.weights = torch.empty(count, dtype=torch.float32, device=device)
        self.grads = torch.zeros(count, dtype=torch.float32, device=device)
        self.groups: list[GroupSlices] = []
        begin = 0
        for group in groups:
            end = begin + sum(weight.numel() for weight in _weights_of(group, adapter))
            self.groups.append(self._take_over(group, adapter, begin, end))
            begin = end
        for weight in others:
            begin = self._move(weight, begin)

    def _move(self, weight: Tensor, at: int) -> int:
        """Into the buffers from place `at` on; returns the place after it."""
        end = at + weight.numel()
        place = self.weights[at:end].view_as(weight)
        place.copy_(weight.data)
        weight.data, weight.grad = place, self.grads[at:end].view_as(weight)
        return end

    def _take_over(self, group: Sequence[Any], adapter: str, begin: int, end: int) -> GroupSlices:
        at = begin
        for weight in _weights_of(group, adapter):
            at = self._move(weight, at)
        outs = [int(layer.out_features) for layer in group]
        ends = [sum(outs[: n + 1]) for n in range(len(outs))]
        adapted = [(layer, (end - out, end)) for layer, out, end in zip(group, outs, ends, strict=True) if is_adapted(layer)]
        ranks = tuple(int(layer.lora_A[adapter].weight.shape[0]) for layer, _ in adapted)
        ins = int(group[0].in_features)
        return GroupSlices(
            weights=self.weights[begin:end],
            ranks=ranks,
            spans=tuple(span for _, span in adapted),
            outs=tuple(outs),
            ins=ins,
            grad_a=self.grads[begin : begin + sum(ranks) * ins].view(sum(ranks), ins),
            grad_b=tuple(layer.lora_B[adapter].weight.grad for layer, _ in adapted),
            scaling=_one_scaling([layer for layer, _ in adapted], adapter),
        )

    def zero_grads(self) -> None:
        """In place: captured passes add into these very buffers."""
        self.grads.zero_()


def is_adapted(layer: Any) -> bool:
    return hasattr(layer, "lora_A")


def _weights_of(group: Sequence[Any], adapter: str) -> list[Any]:
    adapted = [layer for layer in group if is_adapted(layer)]
    return [layer.lora_A[adapter].weight for layer in adapted] + [layer.lora_B[adapter].weight for layer in adapted]


def _one_scaling(group: Sequence[Any], adapter: str) -> float:
    found = {float(layer.scaling[adapter]) for layer in group} or {1.0}
    if len(found) != 1:
        raise ValueError(f"The layers of a group scale their adapters differently: {sorted(found)}.")
    return found.pop()
