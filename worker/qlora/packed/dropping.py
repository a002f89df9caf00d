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
            from worker.qlora.packed.kernels import drop

            return drop(x, share=self.share, seed=self.seed, salt=self.salt, begin=self.begin)
        generator = torch.Generator().manual_seed((int(self.seed) << 12) + self.salt)
        fates = torch.rand(self.begin + x.shape[0], x.shape[1], generator=generator)[self.begin :]
        return x * ((fates >= self.share).to(x.dtype) / (1 - self.share))
