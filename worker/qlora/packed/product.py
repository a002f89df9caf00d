"""y = x Wᵀ + s (x Aᵀ) Bᵀ for the layers that read the same x, as one frozen product with small ones added into its result.

The frozen weights are dequantised once in each direction and kept in neither, unless there is room for them. Saved for backward: x and x Aᵀ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from worker.qlora.packed.dropping import Drop
from worker.qlora.packed.flat_adapter import GroupSlices, is_adapted


class FrozenGroup:
    """The frozen weights of layers that read the same input, as one (sum of outs, in) matrix in the compute type.

    `is_kept_dense`: 4-bit weights are dequantised here, once, and not for each product.
    """

    def __init__(self, layers: Sequence[Any], *, lora: GroupSlices, dtype: torch.dtype, is_kept_dense: bool = False) -> None:
        self.bases = [layer.get_base_layer() if is_adapted(layer) else layer for layer in layers]
        self.lora, self.dtype = lora, dtype
        self.device = lora.weights.device
        self.bias = self._bias()
        self._held: Tensor | None = None
        self._dense: Tensor | None = None
        if not any(hasattr(base.weight, "quant_state") for base in self.bases):
            self._dense = self._joined()
        elif is_kept_dense:
            self._dense = self.dense()

    def _bias(self) -> Tensor | None:
        if all(base.bias is None for base in self.bases):
            return None
        parts = [
            torch.zeros(out) if base.bias is None else base.bias.data for base, out in zip(self.bases, self.lora.outs, strict=True)
        ]
        return torch.cat([part.to(self.device, self.dtype) for part in parts])

    def _joined(self) -> Tensor:
        """Weights in 16 bits become views of one matrix, so that their product is one."""
        if len(self.bases) == 1:
            weight: Tensor = self.bases[0].weight.data
            return weight
        joined = torch.cat([base.weight.data for base in self.bases])
        for base, part in zip(self.bases, joined.split(list(self.lora.outs)), strict=True):
            base.weight.data = part
        return joined

    def product(self, x: Tensor, onto: Tensor | None) -> Tensor:
        """x Wᵀ + bias, added onto the residual stream within the product itself."""
        if onto is None:
            return torch.nn.functional.linear(x, self.dense(), self.bias)
        y = torch.addmm(onto, x, self.dense().t())
        return y if self.bias is None else y.add_(self.bias)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Dequantised once for all products inside."""
        self._held = self.dense()
        try:
            yield
        finally:
            self._held = None

    def dense(self) -> Tensor:
        kept = self._held if self._dense is None else self._dense
        if kept is not None:
            return kept
        whole = torch.empty(sum(self.lora.outs), self.lora.ins, dtype=self.dtype, device=self.device)
        for base, part in zip(self.bases, whole.split(list(self.lora.outs)), strict=True):
            dequantise(base.weight, onto=part)
        return whole


def dequantise(weight: Any, *, onto: Tensor) -> None:
    from bitsandbytes.functional import dequantize_4bit

    if weight.quant_state is None:
        onto.copy_(weight.data)
    elif onto.is_cuda and weight.quant_state.dtype == onto.dtype:
        dequantize_4bit(weight.data, weight.quant_state, out=onto)
    else:
        onto.copy_(dequantize_4bit(weight.data, weight.quant_state))


class LoraProduct(torch.autograd.Function):
    """Gradients of A and B are added to the flat buffers right here; autograd sees x alone.

    `drop`: what the adapter reads is x after dropout, drawn again on the way back. `onto`: the residual stream, which the
    result is added to. `is_read`: whether anybody reads the result; the last product of a recomputed layer is made for its
    way back alone, and nothing stands in the tensor returned.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, onto: Tensor | None, anchor: Tensor, group: FrozenGroup, drop: Drop | None, is_read: bool
    ) -> Tensor:
        lora = group.lora
        a, bs = lora.cast(group.dtype)
        low = (drop(x) if drop and bs else x) @ a.t()
        if is_read:
            y = group.product(x, onto)
            for (begin, end), small, b in zip(lora.spans, low.split(lora.ranks, 1), bs, strict=True):
                y[:, begin:end].addmm_(small, b.t(), alpha=lora.scaling)
        else:
            y = x.new_empty(1).expand(len(x), sum(lora.outs))
        ctx.save_for_backward(x, low)
        ctx.group, ctx.drop, ctx.is_added = group, drop, onto is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        group: FrozenGroup = ctx.group
        drop: Drop | None = ctx.drop
        x, low = ctx.saved_tensors
        a, bs = group.lora.cast(group.dtype)
        onto = grad if ctx.is_added else None
        grad_low = _adapter_grads(grad, drop(x) if drop else x, low, bs, group.lora) if bs else None
        if not ctx.needs_input_grad[0]:
            return None, onto, None, None, None, None
        grad_x = grad @ group.dense()
        if grad_low is None:
            return grad_x, onto, None, None, None, None
        grad_x = grad_x.add_(drop(grad_low @ a)) if drop else grad_x.addmm_(grad_low, a)
        return grad_x, onto, None, None, None, None


def _adapter_grads(grad: Tensor, read: Tensor, low: Tensor, bs: Sequence[Tensor], lora: GroupSlices) -> Tensor:
    """Adds to the gradients of A and B; returns that of x Aᵀ, (tokens, sum of ranks)."""
    grad_low = torch.empty_like(low)
    splits = low.split(lora.ranks, 1), grad_low.split(lora.ranks, 1)
    for (begin, end), small, small_grad, b, grad_b in zip(lora.spans, *splits, bs, lora.grad_b, strict=True):
        part = grad[:, begin:end]
        torch.mm(part, b, out=small_grad)
        grad_b.add_(part.t() @ small, alpha=lora.scaling)
    grad_low.mul_(lora.scaling)
    lora.grad_a.add_(grad_low.t() @ read)
    return grad_low
