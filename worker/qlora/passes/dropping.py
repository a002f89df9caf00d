"""Dropout that can be drawn again: a number's fate depends on the pass's seed, the group and its place, and on no hidden state.

So no mask is kept, a recomputed layer drops what it dropped before, and a captured graph draws anew when its seed changes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Drop:
    """`seed` (1,) int64, new in each pass; `salt` tells the groups of a pass apart; `begin` is the first token's number."""

    share: float
    seed: Tensor
    salt: int
    begin: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, n) → the same with `share` of the numbers 0 and the others scaled up. Its own gradient, too."""
        if x.is_cuda:
            from worker.qlora.passes.kernels import drop

            return drop(x, share=self.share, seed=self.seed, salt=self.salt, begin=self.begin)
        rows = [self._kept(self.begin + token, x.shape[1]) for token in range(x.shape[0])]
        return x * (torch.stack(rows).to(x.dtype) / (1 - self.share))

    def _kept(self, token: int, count: int) -> Tensor:
        generator = torch.Generator().manual_seed((int(self.seed) * 1_000_003 + self.salt) * 1_000_003 + token)
        return torch.rand(count, generator=generator) >= self.share
