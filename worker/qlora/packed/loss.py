"""Output head and cross entropy together, a chunk of tokens at a time: the logits of a pass never exist at once."""

from typing import Any

import torch
from torch import Tensor


class HeadLoss(torch.autograd.Function):
    """Σ of the tokens' losses × scale. The gradient of the hidden states is made on the way forward, when the logits are at hand.

    hidden (tokens, h); head (vocabulary, h), frozen; labels (tokens,), already those of the next token, −100: not trained;
    scale (1,): one over the trained tokens of the effective batch. chunk: tokens; at a vocabulary of 49,152 in bf16 the logits
    of 1,024 take 96 MiB.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, scale: Tensor, chunk: int) -> Tensor:
        grad = torch.empty_like(hidden)
        losses = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for begin in range(0, hidden.shape[0], chunk):
            here = slice(begin, begin + chunk)
            logits = hidden[here] @ head.t()
            _losses_and_grads(logits, labels[here], losses[here], scale)
            torch.mm(logits, head, out=grad[here])
            del logits  # or the next chunk's would be made beside these
        ctx.save_for_backward(grad)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad.mul_(grads[0].to(grad.dtype)), None, None, None, None


def _losses_and_grads(logits: Tensor, labels: Tensor, losses: Tensor, scale: Tensor) -> None:
    if logits.is_cuda:
        from worker.qlora.packed.kernels import cross_entropy

        cross_entropy(logits, labels, losses, scale=scale)
        return
    trained = labels >= 0
    log_probabilities = torch.log_softmax(logits.float(), -1)
    picked = labels.clamp(min=0)[:, None]
    losses.copy_(torch.where(trained, -log_probabilities.gather(1, picked)[:, 0], 0.0) * scale)
    grads = log_probabilities.exp_().scatter_add_(1, picked, torch.full_like(picked, -1, dtype=torch.float32))
    logits.copy_(torch.where(trained[:, None], grads * scale, 0.0))
