"""Rows into passes: laid end to end and filled up to one of a few lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from worker.contract.filling import filled, step_of
from worker.qlora.sharing import is_filler
from worker.rows.tokens import IGNORED


@dataclass(frozen=True)
class PackedCollator:
    """transformers' DataLoader calls it with the rows of a pass: dicts with input_ids and labels (each its own token's).

    What it returns is of one shape for each filled length, as a captured graph needs it: `rows_a_pass` rows and the filling's.
    """

    rows_a_pass: int
    """At most: under packing of all bins of a pass together."""
    longest: int
    """No row has more tokens. Attention is laid out for rows of this length."""
    is_filled: bool
    """Graphs need few lengths; without them every pass has just the tokens it has."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        ends = [0]
        for row in rows:
            ids += row["input_ids"]
            for own in _own_labels(row):
                labels += [*own[1:], IGNORED]  # each token learns the next one of its own row
                positions += range(len(own))
                ends.append(len(labels))
        trained = sum(label != IGNORED for label in labels)
        tokens = sum(len(row["input_ids"]) for row in rows if not is_filler(row))
        self._fill(ids, labels, positions, ends)
        return {
            "input_ids": torch.tensor([ids]),
            "labels": torch.tensor([labels]),
            "positions": torch.tensor([positions]),
            "ends": torch.tensor([ends], dtype=torch.int32),
            "tokens": tokens,
            "trained": trained,
        }

    def _fill(self, ids: list[int], labels: list[int], positions: list[int], ends: list[int]) -> None:
        """The filling is rows of its own, no longer than real ones, of which nothing is learned."""
        begin, whole = len(ids), self.filled(len(ids))
        filling = whole - begin
        ids += [0] * filling
        labels += [IGNORED] * filling
        positions += [place % self.longest for place in range(filling)]
        ends += [begin + min(filling, part + self.longest) for part in range(0, filling, self.longest)]
        ends += [whole] * (self._most_rows(whole) + 1 - len(ends))

    def filled(self, tokens: int) -> int:
        return filled(tokens) if self.is_filled else tokens

    def _most_rows(self, tokens: int) -> int:
        """Equal for all passes of one filled length."""
        return self.rows_a_pass + (ceil(step_of(tokens) / self.longest) if self.is_filled else 0)


def _own_labels(row: dict[str, Any]) -> list[list[int]]:
    """Of each of the rows that share a bin; a row without `seq_lengths` is one by itself."""
    labels, begin = row["labels"], 0
    found = []
    for length in row.get("seq_lengths") or [len(labels)]:
        found.append(labels[begin : begin + length])
        begin += length
    return found
