"""Which row is trained on when: a shuffle for each epoch that only the seed and the epoch decide.

So a resumed run, whatever its rows a pass, goes on with the row that would have come next, and any step's rows can be named.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DataOrder:
    rows: int
    effective_batch: int
    seed: int

    @property
    def steps_an_epoch(self) -> int:
        """The last step of an epoch takes the rows that are left."""
        return math.ceil(self.rows / self.effective_batch)

    def of_epoch(self, epoch: int) -> Places:
        """Places of the rows in the dataset. The same shuffle as accelerate's seedable sampler makes."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(self.rows, generator=generator).numpy()

    def of_step(self, step: int) -> Places:
        """The rows of one optimizer step, the first of which is step 1."""
        epoch, within = divmod(step - 1, self.steps_an_epoch)
        return self.of_epoch(epoch)[within * self.effective_batch : (within + 1) * self.effective_batch]

    def largest_pass(self, lengths: Places, *, rows_a_pass: int, after_step: int, last_step: int, is_padded: bool = True) -> Places:
        """The rows of the pass with the most tokens, padded to its longest row or not, among all that the run still makes."""
        largest, most = np.array([], dtype=np.int64), -1
        for places in self._still_to_come(after_step, last_step):
            at, tokens = _most_tokens(lengths[places], rows_a_pass=rows_a_pass, is_padded=is_padded)
            if tokens > most:
                largest, most = places[at : at + rows_a_pass], tokens
        return largest

    def pass_tokens(self, lengths: Places, *, rows_a_pass: int, after_step: int, last_step: int) -> Places:
        """Of every pass that the run still makes, rows end to end."""
        parts = [
            _by_pass(lengths[places], rows_a_pass=rows_a_pass).sum(axis=1) for places in self._still_to_come(after_step, last_step)
        ]
        return np.concatenate([np.array([], dtype=np.int64), *parts])

    def _still_to_come(self, after_step: int, last_step: int) -> Iterator[Places]:
        """Epoch by epoch the rows of the steps from the one after `after_step` to the last."""
        for epoch in range(after_step // self.steps_an_epoch, math.ceil(last_step / self.steps_an_epoch)):
            first = max(after_step - epoch * self.steps_an_epoch, 0)
            end = min(last_step - epoch * self.steps_an_epoch, self.steps_an_epoch)
            yield self.of_epoch(epoch)[first * self.effective_batch : end * self.effective_batch]


def _by_pass(lengths: Places, *, rows_a_pass: int) -> Places:
    """(passes, rows a pass); what the last one lacks are rows of no tokens."""
    passes = math.ceil(len(lengths) / rows_a_pass)
    padded = np.zeros(passes * rows_a_pass, dtype=np.int64)
    padded[: len(lengths)] = lengths
    return padded.reshape(passes, rows_a_pass)


def _most_tokens(lengths: Places, *, rows_a_pass: int, is_padded: bool) -> tuple[int, int]:
    """Where the pass with the most tokens begins, and how many they are."""
    by_pass = _by_pass(lengths, rows_a_pass=rows_a_pass)
    counts = np.full(len(by_pass), rows_a_pass)
    counts[-1] = len(lengths) - (len(by_pass) - 1) * rows_a_pass
    tokens = by_pass.max(axis=1) * counts if is_padded else by_pass.sum(axis=1)
    return int(tokens.argmax()) * rows_a_pass, int(tokens.max())


class EpochSampler(Sampler[int]):
    """The order as torch's DataLoader asks for it. accelerate calls set_epoch before each epoch, a resumed one too."""

    def __init__(self, order: DataOrder) -> None:
        self._order = order
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self._order.of_epoch(self._epoch).tolist())

    def __len__(self) -> int:
        return self._order.rows
