"""Rotary embedding and causal attention within each row of a pass, on q, k, v as one packed product gives them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Heads:
    """Of one layer: `q` query heads share `kv` key and value heads; `d` numbers each."""

    q: int
    kv: int
    d: int
    scale: float


@dataclass(frozen=True)
class Rows:
    """Where the rows of a pass begin and end.

    ends (rows + 1,) int32: 0, end of the first, of the second, ...; empty rows at the end are allowed. cos, sin (tokens, d).
    """

    ends: Tensor
    longest: int
    cos: Tensor
    sin: Tensor


class PackedAttention(torch.autograd.Function):
    """(tokens, (q + 2 kv) d) → (tokens, q d). Rotates q and k in place, and the way back writes over them: nobody else keeps them."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, rows: Rows, heads: Heads) -> Tensor:
        q, k, v = _unpacked(packed, heads)
        _turn(q, q, rows, sign=1.0)
        _turn(k, k, rows, sign=1.0)
        out, ctx.kept = _forward(q, k, v, rows, heads)
        ctx.save_for_backward(packed, out)
        ctx.rows, ctx.heads = rows, heads
        return out.flatten(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        packed, out = ctx.saved_tensors
        rows, heads = ctx.rows, ctx.heads
        q, k, v = _unpacked(packed, heads)
        grad_q, grad_k, grad_v = _backward(grads[0].view_as(out), q, k, v, out, ctx.kept, rows, heads)
        # Nobody reads q, k and v any more, so their gradients take their place: 3 h bytes a token less at the peak.
        _turn(grad_q, q, rows, sign=-1.0)
        _turn(grad_k, k, rows, sign=-1.0)
        v.copy_(grad_v)
        return packed, None, None


def _unpacked(packed: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = packed.split([heads.q * heads.d, heads.kv * heads.d, heads.kv * heads.d], 1)
    return q.unflatten(1, (heads.q, heads.d)), k.unflatten(1, (heads.kv, heads.d)), v.unflatten(1, (heads.kv, heads.d))


def _turn(source: Tensor, target: Tensor, rows: Rows, *, sign: float) -> None:
    if source.is_cuda:
        from worker.qlora.packed.kernels import rotate

        rotate(source, target, cos=rows.cos, sin=rows.sin, sign=sign)
        return
    half = source.shape[-1] // 2
    cos, sin = rows.cos[:, None, :half], rows.sin[:, None, :half] * sign
    first, second = source[..., :half], source[..., half:]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    target.copy_(turned)


def _forward(q: Tensor, k: Tensor, v: Tensor, rows: Rows, heads: Heads) -> tuple[Tensor, tuple[Tensor, ...]]:
    if q.is_cuda:
        out, *kept = torch.ops.aten._flash_attention_forward(
            q, k, v, rows.ends, rows.ends, rows.longest, rows.longest, 0.0, True, False, scale=heads.scale
        )
        return out, tuple(kept[:3])
    return _on_cpu(q, k, v, rows, heads), ()


def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: tuple[Tensor, ...], rows: Rows, heads: Heads
) -> tuple[Tensor, Tensor, Tensor]:
    if q.is_cuda:
        log_sums, *random = kept
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._flash_attention_backward(
            grad, q, k, v, out, log_sums, rows.ends, rows.ends, rows.longest, rows.longest, 0.0, True, *random, scale=heads.scale
        )
        return found
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in (q, k, v)]
        again = _on_cpu(leaves[0], leaves[1], leaves[2], rows, heads)
        grad_q, grad_k, grad_v = torch.autograd.grad(again, leaves, grad)
    return grad_q, grad_k, grad_v


def _on_cpu(q: Tensor, k: Tensor, v: Tensor, rows: Rows, heads: Heads) -> Tensor:
    """Row by row: torch's kernel for rows of different lengths has no CPU form."""
    ends = rows.ends.tolist()
    parts = [_row_on_cpu(q[begin:end], k[begin:end], v[begin:end], heads) for begin, end in pairwise(ends) if end > begin]
    return torch.cat(parts)


def _row_on_cpu(q: Tensor, k: Tensor, v: Tensor, heads: Heads) -> Tensor:
    q, k, v = (each.transpose(0, 1)[None] for each in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=heads.scale, enable_gqa=heads.q != heads.kv
    )
    return out[0].transpose(0, 1)
