"""Rows into passes: which rows go together, laid end to end, filled up to one of a few lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from worker.qlora.passes.decoder import Pass

UNTRAINED = -100
LENGTHS = 40  # about as many different pass lengths as a doubling has: 2.5 % of filling at most, 1.2 % on average


@dataclass(frozen=True)
class Lengths:
    """Pass lengths are multiples of `step`, which grows with the length: few graphs, little filling."""

    least: int = 64

    def fill(self, tokens: int) -> int:
        step = max(self.least, 1 << max(0, (max(tokens, 1) // LENGTHS).bit_length()))
        return ceil(tokens / step) * step


def lay_out(
    rows: Sequence[dict[str, Any]], *, row_places: int, longest: int, scale: float, seed: int, lengths: Lengths, device: torch.device
) -> Pass:
    """`rows` with input_ids and labels (of the same token); at most `row_places` of them, each at most `longest` tokens."""
    ids, labels, positions, ends = [], [], [], [0]
    for row in rows:
        ids += row["input_ids"]
        labels += [*row["labels"][1:], UNTRAINED]  # each token learns the next one of its own row
        positions += range(len(row["input_ids"]))
        ends.append(len(ids))
    filled = lengths.fill(len(ids))
    filling = filled - len(ids)
    ids += [0] * filling
    labels += [UNTRAINED] * filling
    places = _filling_places(filling, longest)
    positions += places
    ends += _filling_ends(len(ids) - filling, filling, longest)
    ends += [filled] * (row_places + _most_filling_rows(lengths, filled, longest) + 1 - len(ends))
    return Pass(
        ids=_tensor(ids, torch.long, device),
        labels=_tensor(labels, torch.long, device),
        positions=_tensor(positions, torch.long, device),
        ends=_tensor(ends, torch.int32, device),
        scale=_tensor([scale], torch.float32, device),
        seed=_tensor([seed], torch.long, device),
        longest=longest,
    )


def _filling_places(filling: int, longest: int) -> list[int]:
    return [place % longest for place in range(filling)]


def _filling_ends(begin: int, filling: int, longest: int) -> list[int]:
    """The filling is cut into rows no longer than real ones, so that attention's grid stays the same."""
    return [begin + min(filling, part + longest) for part in range(0, filling, longest)]


def _most_filling_rows(lengths: Lengths, filled: int, longest: int) -> int:
    return ceil(lengths.fill(filled) / longest) if filled < longest else ceil(max(64, filled // LENGTHS * 2) / longest)


def _tensor(values: Sequence[Any], kind: torch.dtype, device: torch.device) -> torch.Tensor:
    made = torch.tensor(values, dtype=kind)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made


def trained_tokens(row: dict[str, Any]) -> int:
    """Those that the loss is computed on: the first token of a row is nobody's next one."""
    return sum(label != UNTRAINED for label in row["labels"][1:])
