"""NEFTune's noise on the embeddings of a pass: scaled by the length of each row itself, whatever lies beside it."""

from dataclasses import dataclass

import torch
from torch import Tensor

SALT = 4095  # the groups' dropout has those below: 4 a layer


@dataclass(frozen=True)
class Noise:
    """Uniform within ± alpha / √(tokens of the row × hidden size). `seed` (1,) int64, new in each pass."""

    alpha: float
    seed: Tensor

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor:
        reach = self.alpha / (row_lengths(ends, tokens=x.shape[0]) * x.shape[1]).sqrt()
        if x.is_cuda:
            from worker.qlora.packed.kernels import noisy

            return noisy(x, reach=reach, seed=self.seed, salt=SALT)
        generator = torch.Generator().manual_seed((int(self.seed) << 12) + SALT)
        drawn = 2 * torch.rand(x.shape, generator=generator) - 1
        return x + (drawn * reach[:, None]).to(x.dtype)


def row_lengths(ends: Tensor, *, tokens: int) -> Tensor:
    """Of the row that each token belongs to, (tokens,) float32. No shape depends on a value: a graph can capture it."""
    places = torch.arange(tokens, device=ends.device, dtype=ends.dtype)
    rows = torch.searchsorted(ends, places, right=True) - 1
    return ends.diff()[rows].float()
