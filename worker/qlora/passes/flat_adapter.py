"""All adapter weights in one float32 buffer, their gradients in another, and a copy in the compute type.

One kernel zeroes all gradients and one renews the copies, where PEFT's 448 tensors of a 7B model take 448 of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class LoraSlices:
    """Views of one layer's adapter: A is (r, in), B is (out, r). `scaled_b` holds scaling × B in the compute type."""

    a: Tensor
    scaled_b: Tensor
    grad_a: Tensor
    grad_b: Tensor
    scaling: float


class FlatAdapter:
    """Takes the weights of the LoRA layers over, in groups that read the same input, so that a group's A matrices are adjacent."""

    def __init__(self, groups: Sequence[Sequence[Any]], *, adapter: str, dtype: torch.dtype) -> None:
        layers = [layer for group in groups for layer in group]
        self.a = [layer.lora_A[adapter].weight for layer in layers]
        self.b = [layer.lora_B[adapter].weight for layer in layers]
        self.scaling = {id(layer): float(layer.scaling[adapter]) for layer in layers}
        device = self.a[0].device
        count = sum(weight.numel() for weight in (*self.a, *self.b))
        self.weights = torch.empty(count, dtype=torch.float32, device=device)
        self.grads = torch.zeros(count, dtype=torch.float32, device=device)
        self.copies = torch.empty(count, dtype=dtype, device=device)
        self.b_begins = sum(weight.numel() for weight in self.a)
        scales = set(self.scaling.values())
        if len(scales) != 1:
            raise ValueError("One scaling for all layers is what a LoraConfig without patterns gives.")
        self.scale = scales.pop()
        self._take_over()
        self._slices = self._slice(layers)

    def _take_over(self) -> None:
        begin = 0
        for weight in (*self.a, *self.b):
            end = begin + weight.numel()
            place = self.weights[begin:end].view_as(weight)
            place.copy_(weight.data)
            weight.data = place
            weight.grad = self.grads[begin:end].view_as(weight)
            begin = end

    def _slice(self, layers: Sequence[Any]) -> dict[int, LoraSlices]:
        found = {}
        begin_a, begin_b = 0, self.b_begins
        for layer, a, b in zip(layers, self.a, self.b, strict=True):
            assert a.grad is not None
            assert b.grad is not None
            copies_a = self.copies[begin_a : begin_a + a.numel()].view_as(a)
            copies_b = self.copies[begin_b : begin_b + b.numel()].view_as(b)
            found[id(layer)] = LoraSlices(copies_a, copies_b, a.grad, b.grad, self.scaling[id(layer)])
            begin_a, begin_b = begin_a + a.numel(), begin_b + b.numel()
        return found

    def of(self, layer: Any) -> LoraSlices:
        return self._slices[id(layer)]

    def a_of(self, group: Sequence[Any]) -> Tensor:
        """(r of all layers of the group together, in), without a copy: they lie side by side."""
        first = self.of(group[0]).a
        begin = first.storage_offset()
        rows = sum(self.of(layer).a.shape[0] for layer in group)
        return self.copies[begin : begin + rows * first.shape[1]].view(rows, first.shape[1])

    def renew_copies(self) -> None:
        """After each optimizer step, before the next pass."""
        self.copies.copy_(self.weights)
        if self.scale != 1.0:
            self.copies[self.b_begins :].mul_(self.scale)

    def zero_grads(self) -> None:
        """In place: captured passes add into these very buffers."""
        self.grads.zero_()
