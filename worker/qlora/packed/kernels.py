"""Triton kernels of the fast pass: rotary embedding on packed q, k, v, and cross entropy that leaves its gradient in the logits."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _rotate(
    source,
    target,
    cos,
    sin,
    source_token,
    source_head,
    target_token,
    target_head,
    cos_token,
    sign,
    heads,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    at = tl.arange(0, HALF)[None, :]
    c = tl.load(cos + token * cos_token + at).to(tl.float32)
    s = tl.load(sin + token * cos_token + at).to(tl.float32) * sign
    read = source + token * source_token + head * source_head + at
    write = target + token * target_token + head * target_head + at
    first = tl.load(read, mask=head < heads).to(tl.float32)
    second = tl.load(read + HALF, mask=head < heads).to(tl.float32)
    tl.store(write, (first * c - second * s).to(target.dtype.element_ty), mask=head < heads)
    tl.store(write + HALF, (second * c + first * s).to(target.dtype.element_ty), mask=head < heads)


def rotate(source: Tensor, target: Tensor, *, cos: Tensor, sin: Tensor, sign: float) -> None:
    """(tokens, heads, d) → the same, by the angle of each token (sign −1: back). May be in place. cos, sin: (tokens, d)."""
    tokens, heads, d = source.shape
    together = min(32, triton.next_power_of_2(heads))
    _rotate[(tokens, triton.cdiv(heads, together))](
        source,
        target,
        cos,
        sin,
        source.stride(0),
        source.stride(1),
        target.stride(0),
        target.stride(1),
        cos.stride(0),
        sign,
        heads,
        HEADS=together,
        HALF=d // 2,
        num_warps=4,
    )


@triton.jit
def _cross_entropy(logits, labels, losses, scale, stride, scale_stride, vocabulary, BLOCK: tl.constexpr, GRADS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels + row)
    here = logits + row * stride
    if label < 0:
        tl.store(losses + row, 0.0)
        if GRADS:
            for begin in range(0, vocabulary, BLOCK):
                at = begin + tl.arange(0, BLOCK)
                tl.store(here + at, tl.zeros([BLOCK], logits.dtype.element_ty), mask=at < vocabulary)
        return
    highest = float("-inf")
    total = 0.0
    for begin in range(0, vocabulary, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        x = tl.load(here + at, mask=at < vocabulary, other=float("-inf")).to(tl.float32)
        top = tl.maximum(highest, tl.max(x))
        total = total * tl.exp(highest - top) + tl.sum(tl.exp(x - top))
        highest = top
    log_sum = highest + tl.log(total)
    factor = tl.load(scale + row * scale_stride)
    tl.store(losses + row, (log_sum - tl.load(here + label).to(tl.float32)) * factor)
    if GRADS:
        tl.debug_barrier()
        for begin in range(0, vocabulary, BLOCK):
            at = begin + tl.arange(0, BLOCK)
            x = tl.load(here + at, mask=at < vocabulary, other=float("-inf")).to(tl.float32)
            grad = tl.exp(x - log_sum) - tl.where(at == label, 1.0, 0.0)
            tl.store(here + at, (grad * factor).to(logits.dtype.element_ty), mask=at < vocabulary)


def cross_entropy(logits: Tensor, labels: Tensor, losses: Tensor, *, scale: Tensor, with_grads: bool = True) -> None:
    """logits (rows, vocabulary) become scale × their gradient, losses scale × each row's loss; label −100: nothing.

    scale: one for all, or one a row. Without gradients the logits stay as they are.
    """
    rows, vocabulary = logits.shape
    strides = (logits.stride(0), int(scale.numel() > 1))
    _cross_entropy[(rows,)](logits, labels, losses, scale, *strides, vocabulary, BLOCK=8192, GRADS=with_grads, num_warps=16)


@triton.jit
def _noisy(source, target, reach, seed, salt, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(source + token * width + at, mask=at < width).to(tl.float32)
    drawn = 2 * tl.rand(tl.load(seed) * 4096 + salt, token * width + at) - 1
    tl.store(target + token * width + at, (x + drawn * tl.load(reach + token)).to(target.dtype.element_ty), mask=at < width)


def noisy(x: Tensor, *, reach: Tensor, seed: Tensor, salt: int) -> Tensor:
    """x (tokens, n), contiguous; reach (tokens,) float32: each number moves by less than its token's."""
    x = x.contiguous()
    target = torch.empty_like(x)
    tokens, width = x.shape
    _noisy[(tokens, triton.cdiv(width, 1024))](x, target, reach, seed, salt, width, BLOCK=1024, num_warps=4)
    return target


@triton.jit
def _drop(source, target, seed, salt, share, begin, width, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(source + token * width + at, mask=at < width).to(tl.float32)
    # 4,096 salts a seed; the place of a number within its group is its counter.
    fate = tl.rand(tl.load(seed) * 4096 + salt, (begin + token) * width + at)
    tl.store(
        target + token * width + at, tl.where(fate >= share, x / (1 - share), 0.0).to(target.dtype.element_ty), mask=at < width
    )


def drop(x: Tensor, *, share: float, seed: Tensor, salt: int, begin: int) -> Tensor:
    """(tokens, n), contiguous."""
    x = x.contiguous()
    target = torch.empty_like(x)
    tokens, width = x.shape
    _drop[(tokens, triton.cdiv(width, 1024))](x, target, seed, salt, share, begin, width, BLOCK=1024, num_warps=4)
    return target
