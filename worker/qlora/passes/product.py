"""y = x Wᵀ + s (x Aᵀ) Bᵀ for the layers that read the same x, as one frozen product with small ones added into its result.

The frozen weights are dequantised twice, once for each direction, and kept in neither. Saved for backward: x and x Aᵀ.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.qlora.passes.flat_adapter import FlatAdapter


class FrozenGroup:
    """The frozen weights of layers that read the same input, as one (sum of outs, in) matrix in the compute type."""

    def __init__(self, layers: Sequence[Any], *, adapter: FlatAdapter, dtype: torch.dtype) -> None:
        self.bases = [layer.get_base_layer() for layer in layers]
        self.dtype = dtype
        self.outs = [int(base.out_features) for base in self.bases]
        self.ins = int(self.bases[0].in_features)
        self.lora = [adapter.of(layer) for layer in layers]
        self.a = adapter.a_of(layers)
        self.ranks = [slices.a.shape[0] for slices in self.lora]
        self.bias = self._bias()
        self.is_quantised = any(hasattr(base.weight, "quant_state") for base in self.bases)
        if not self.is_quantised and len(self.bases) > 1:
            self._join()

    def _bias(self) -> Tensor | None:
        if all(base.bias is None for base in self.bases):
            return None
        parts = [
            base.bias.data.to(self.dtype) if base.bias is not None else torch.zeros(base.out_features, dtype=self.dtype)
            for base in self.bases
        ]
        return torch.cat([part.to(self.a.device) for part in parts])

    def _join(self) -> None:
        """Dense weights become views of one matrix, so that their product is one."""
        joined = torch.cat([base.weight.data for base in self.bases])
        for base, part in zip(self.bases, joined.split(self.outs), strict=True):
            base.weight.data = part
        self._joined = joined

    def product(self, x: Tensor, onto: Tensor | None) -> Tensor:
        """x Wᵀ + bias, added onto the residual stream within the product itself."""
        if onto is None:
            return torch.nn.functional.linear(x, self.dense(), self.bias)
        y = torch.addmm(onto, x, self.dense().t())
        return y if self.bias is None else y.add_(self.bias)

    def dense(self) -> Tensor:
        if not self.is_quantised:
            weight: Tensor = self._joined if len(self.bases) > 1 else self.bases[0].weight.data
            return weight
        from bitsandbytes.functional import dequantize_4bit

        whole = torch.empty(sum(self.outs), self.ins, dtype=self.dtype, device=self.a.device)
        for base, part in zip(self.bases, whole.split(self.outs), strict=True):
            weight = base.weight
            if weight.quant_state is None:
                part.copy_(weight.data)
            elif weight.quant_state.dtype == self.dtype and weight.device.type == "cuda":
                dequantize_4bit(weight.data, weight.quant_state, out=part)
            else:
                part.copy_(dequantize_4bit(weight.data, weight.quant_state))
        return whole


class LoraProduct(torch.autograd.Function):
    """Gradients of A and B are added to the flat buffers right here; autograd sees x alone.

    `read` is what the adapter reads: x itself, or x after dropout. `onto`: the residual stream, which the result is added to.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, read: Tensor, onto: Tensor | None, anchor: Tensor, group: FrozenGroup) -> Tensor:
        y = group.product(x, onto)
        low = read @ group.a.t()
        for part, small, lora in zip(y.split(group.outs, 1), low.split(group.ranks, 1), group.lora, strict=True):
            part.addmm_(small, lora.scaled_b.t())
        ctx.save_for_backward(read, low)
        ctx.group, ctx.is_same, ctx.is_added = group, read is x, onto is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        group: FrozenGroup = ctx.group
        read, low = ctx.saved_tensors
        grad_low = torch.empty_like(low)
        parts = zip(grad.split(group.outs, 1), low.split(group.ranks, 1), grad_low.split(group.ranks, 1), group.lora, strict=True)
        for part, small, small_grad, lora in parts:
            torch.mm(part, lora.scaled_b, out=small_grad)
            lora.grad_b.add_(part.t() @ small, alpha=lora.scaling)
        grad_a = grad_low.t() @ read
        begin = 0
        for lora in group.lora:
            rows = lora.a.shape[0]
            lora.grad_a.add_(grad_a[begin : begin + rows])
            begin += rows
        onto = grad if ctx.is_added else None
        if not ctx.needs_input_grad[0] and not ctx.needs_input_grad[1]:
            return None, None, onto, None, None
        grad_x = grad @ group.dense()
        if ctx.is_same:
            return grad_x.addmm_(grad_low, group.a), None, onto, None, None
        return grad_x, grad_low @ group.a, onto, None, None
