"""Output head and log-probabilities together, a chunk of tokens at a time, for losses that are made of whole rows.

Such a loss knows a token's gradient only when all of its rows are summed up, so the logits of a chunk are made again on the way back.
"""

from typing import Any

import torch
from torch import Tensor


class HeadLogProbabilities(torch.autograd.Function):
    """hidden (tokens, h); head (vocabulary, h), frozen; labels (tokens,), those of the next token, −100: none → (tokens,) float32."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, chunk: int) -> Tensor:
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for begin in range(0, hidden.shape[0], chunk):
            here = slice(begin, begin + chunk)
            _log_probabilities(hidden[here] @ head.t(), labels[here], found[here])
        ctx.save_for_backward(hidden, head, labels)
        ctx.chunk = chunk
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, labels = ctx.saved_tensors
        grad = torch.empty_like(hidden)
        of_tokens = grads[0].to(torch.float32).contiguous()
        for begin in range(0, hidden.shape[0], ctx.chunk):
            here = slice(begin, begin + ctx.chunk)
            logits = hidden[here] @ head.t()
            _into_grads(logits, labels[here], of_tokens[here])
            torch.mm(logits, head, out=grad[here])
        return grad, None, None, None


def _log_probabilities(logits: Tensor, labels: Tensor, found: Tensor) -> None:
    if logits.is_cuda:
        from worker.qlora.packed.kernels import cross_entropy

        cross_entropy(logits, labels, found, scale=torch.full((1,), -1.0, device=logits.device), with_grads=False)
        return
    picked = torch.log_softmax(logits.float(), -1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
    found.copy_(torch.where(labels >= 0, picked, 0.0))


def _into_grads(logits: Tensor, labels: Tensor, of_tokens: Tensor) -> None:
    """The logits become their own gradients, given those of the log-probabilities."""
    if logits.is_cuda:
        from worker.qlora.packed.kernels import cross_entropy

        cross_entropy(logits, labels, torch.empty_like(of_tokens), scale=-of_tokens)
        return
    shares = torch.softmax(logits.float(), -1)
    picked = labels.clamp(min=0)[:, None]
    shares.scatter_add_(1, picked, torch.full_like(picked, -1, dtype=torch.float32))
    logits.copy_(torch.where(labels[:, None] >= 0, -shares * of_tokens[:, None], 0.0))
