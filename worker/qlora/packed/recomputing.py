"""A layer that keeps only its input, on the card or in the host's memory, and is run again on the way back."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor


class Recomputed(Protocol):
    """A layer in its two halves: each adds to the stream; the second can be run on some of the tokens."""

    def attend(self, x: Tensor, anchor: Tensor) -> Tensor: ...

    def feed_forward(self, x: Tensor, anchor: Tensor, *, begin: int = 0, is_read: bool = True) -> Tensor:
        """`begin`: the pass's token at which x begins; its dropout is drawn by that number. `is_read`: as in LoraProduct."""
        ...

    def feed_forward_held(self) -> AbstractContextManager[None]:
        """Inside, its weights are dequantised once and kept."""
        ...


@dataclass
class HostShelf:
    """Pinned host memory for the inputs of recomputed layers, and a stream that carries them there and back beside the products.

    A capture frees memory in the order of its calls, so a tensor under way is held until the pass has waited for its copy.
    """

    stream: Any
    shelves: dict[int, Tensor] = field(default_factory=dict)
    under_way: list[tuple[Tensor, Any]] = field(default_factory=list)
    fetched: dict[int, tuple[Tensor, Any]] = field(default_factory=dict)

    def put(self, number: int, x: Tensor) -> None:
        shelf = self.shelves.get(number)
        if shelf is None or shelf.numel() < x.numel():
            shelf = self.shelves[number] = torch.empty(x.numel(), dtype=x.dtype, pin_memory=True)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            shelf[: x.numel()].view_as(x).copy_(x, non_blocking=True)
            self.under_way.append((x, self.stream.record_event()))
        while len(self.under_way) > 2:
            self._settle()

    def settle_all(self) -> None:
        while self.under_way:
            self._settle()

    def _settle(self) -> None:
        _, done = self.under_way.pop(0)
        torch.cuda.current_stream().wait_event(done)

    def fetch(self, number: int, like: Tensor) -> None:
        """Begins to bring a layer's input back, into memory that the pass owns."""
        if number not in self.shelves or number in self.fetched:
            return
        x = torch.empty_like(like)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            x.copy_(self.shelves[number][: x.numel()].view_as(x), non_blocking=True)
            self.fetched[number] = (x, self.stream.record_event())

    def take(self, number: int, like: Tensor) -> Tensor:
        self.fetch(number, like)
        x, done = self.fetched.pop(number)
        torch.cuda.current_stream().wait_event(done)
        return x


class RecomputedLayer(torch.autograd.Function):
    """The feed-forward half is recomputed and run back `chunk` tokens at a time: its output is not needed a second time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, layer: Recomputed, number: int, shelf: HostShelf | None, chunk: int) -> Tensor:
        ctx.layer, ctx.number, ctx.shelf, ctx.chunk = layer, number, shelf, chunk
        if shelf is None:
            ctx.save_for_backward(x)
        else:
            shelf.put(number, x)
        middle = layer.attend(x, anchor)
        if len(middle) <= chunk:
            return layer.feed_forward(middle, anchor)
        with layer.feed_forward_held():
            for begin in range(0, len(middle), chunk):
                here = slice(begin, begin + chunk)
                middle[here] = layer.feed_forward(middle[here], anchor, begin=begin)
        return middle

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        if ctx.shelf is None:
            (x,) = ctx.saved_tensors
        else:
            x = ctx.shelf.take(ctx.number, grad)
            ctx.shelf.fetch(ctx.number - 1, grad)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            anchor = torch.zeros((), device=x.device, dtype=x.dtype, requires_grad=True)
            middle = ctx.layer.attend(x, anchor)
            onto = _through_feed_forward(middle.detach(), grad, ctx.layer, anchor, ctx.chunk)
            middle.backward(onto)
        return x.grad, None, None, None, None, None


def _through_feed_forward(middle: Tensor, grad: Tensor, layer: Recomputed, anchor: Tensor, chunk: int) -> Tensor:
    """The gradient of the layer's middle, (tokens, h); sliced, it takes the place of `grad`, which nobody else reads."""
    if len(middle) <= chunk:
        return _part_back(middle, grad, layer, anchor, 0)
    with layer.feed_forward_held():
        for begin in range(0, len(middle), chunk):
            here = slice(begin, begin + chunk)
            grad[here] = _part_back(middle[here], grad[here], layer, anchor, begin)
    return grad


def _part_back(middle: Tensor, grad: Tensor, layer: Recomputed, anchor: Tensor, begin: int) -> Tensor:
    part = middle.detach().requires_grad_()
    layer.feed_forward(part, anchor, begin=begin, is_read=False).backward(grad)
    assert part.grad is not None
    return part.grad
