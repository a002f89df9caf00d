"""Which process trains on which rows of a step: as many tokens for each as rows of equal number allow."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from worker.qlora.data_order import DataOrder, Places
from worker.rows.tokens import IGNORED


@dataclass(frozen=True)
class SharedOrder(DataOrder):
    """The order of all rows; each step's are shared out to `count` processes."""

    lengths: Places = field(kw_only=True)
    count: int = field(kw_only=True)

    def shares(self, places: Places) -> list[Places]:
        """Of the rows of one step. Numbers of rows differ by one at most, and only where the step has no whole multiple."""
        longest_first = np.argsort(-self.lengths[places], kind="stable")
        tokens, taken = np.zeros(self.count, dtype=np.int64), np.zeros(len(places), dtype=np.int64)
        for begin in range(0, len(places), self.count):
            block = longest_first[begin : begin + self.count]
            ranks = np.argsort(tokens, kind="stable")[: len(block)]  # the longest row to whom has fewest tokens
            taken[block] = ranks
            tokens[ranks] += self.lengths[places[block]]
        return [places[taken == rank] for rank in range(self.count)]

    def of_rank(self, epoch: int, rank: int) -> Places:
        """One process's rows. Where a step leaves it one row fewer than others, the filler's place (`rows`) stands."""
        places = self.of_epoch(epoch)
        parts = []
        for begin in range(0, len(places), self.effective_batch):
            shares = self.shares(places[begin : begin + self.effective_batch])
            most = max(map(len, shares))
            parts.append(np.pad(shares[rank], (0, most - len(shares[rank])), constant_values=self.rows))
        return np.concatenate(parts)

    def _still_to_come(self, after_step: int, last_step: int) -> Iterator[Places]:
        """Each process's rows by themselves: so passes are made of them."""
        for places in super()._still_to_come(after_step, last_step):
            steps = [places[begin : begin + self.effective_batch] for begin in range(0, len(places), self.effective_batch)]
            by_step = [self.shares(step) for step in steps]
            yield from (np.concatenate([shares[rank] for shares in by_step]) for rank in range(self.count))


class RankSampler(Sampler[int]):
    """One process's rows as torch's DataLoader asks for them. set_epoch: as for EpochSampler."""

    def __init__(self, order: SharedOrder, *, rank: int) -> None:
        self._order, self._rank, self._epoch = order, rank, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self._order.of_rank(self._epoch, self._rank).tolist())

    def __len__(self) -> int:
        """Equal for all processes: they make the same number of passes."""
        whole, rest = divmod(self._order.rows, self._order.effective_batch)
        return whole * (self._order.effective_batch // self._order.count) + -(-rest // self._order.count)


class EvenSampler(Sampler[int]):
    """Every `count`-th row from the process's own on; the filler where there is none left."""

    def __init__(self, *, rows: int, rank: int, count: int) -> None:
        self._rows, self._rank, self._count = rows, rank, count

    def __iter__(self) -> Iterator[int]:
        return iter([min(place, self._rows) for place in range(self._rank, len(self) * self._count, self._count)])

    def __len__(self) -> int:
        return -(-self._rows // self._count)


class WithFiller(Dataset[dict[str, Any]]):
    """The rows, and past the last one a filler: two tokens of which nothing is learned."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return dict(self._rows[place]) if place < len(self._rows) else self._filler()

    def __getitems__(self, places: list[int]) -> list[dict[str, Any]]:
        return [self[place] for place in places]

    def _filler(self) -> dict[str, Any]:
        first = self._rows[0]
        lengths = {"seq_lengths": [2]} if "seq_lengths" in first else {}
        return {**first, "input_ids": first["input_ids"][:2], "labels": [IGNORED, IGNORED], **lengths}


def is_filler(row: dict[str, Any]) -> bool:
    """Rows without a trained token are left out before, so only a filler has none."""
    return all(label == IGNORED for label in row["labels"])
