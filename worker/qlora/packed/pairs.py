"""Pairs into passes: both answers of a pair, each with what was asked, lie one after the other in the same pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from worker.qlora.packed.collating import PackedCollator
from worker.qlora.packed.decoder import Pass
from worker.rows.tokens import IGNORED


@dataclass(frozen=True)
class PairPass(Pass):
    """slots (tokens,) int64: which sum a token's log-probability belongs to. 2 n and 2 n + 1: the chosen and the rejected answer of
    pair n; after those of all pairs, one for what was asked before a chosen answer, and one that nobody reads.

    weights (pairs,) float32: one over the pairs of the effective batch; 0 for the pairs that a smaller pass lacks.
    scale: one over the tokens of the chosen rows of the effective batch.
    """

    slots: Tensor
    weights: Tensor

    @property
    def pairs(self) -> int:
        return int(self.weights.shape[0])

    def filled_to(self, tokens: int, *, rows: int) -> Self:
        slots = pad(self.slots, (0, tokens - self.tokens), value=2 * self.pairs + 1)
        return replace(super().filled_to(tokens, rows=rows), slots=slots)


@dataclass(frozen=True)
class ScorePass(Pass):
    """lasts (2 pairs,) int64: the token at which each row's score is read, chosen and rejected in turn. weights: as PairPass."""

    lasts: Tensor
    weights: Tensor


@dataclass(frozen=True)
class PackedPairCollator:
    """As PackedCollator. `learns_asked`: what was asked before a chosen answer counts as well (ORPO).

    A score is read at the last token that is not `pad_token_id`: transformers looks for it in padded rows, and so counts a padding
    token that ends an answer as padding.
    """

    pairs_a_pass: int
    longest: int
    is_filled: bool
    learns_asked: bool = False
    pad_token_id: int = -1

    def __call__(self, pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        sides = [(pair["prompt_ids"], pair[side], side) for pair in pairs for side in ("chosen_ids", "rejected_ids")]
        rows = [self._row(prompt, answer, is_chosen=side == "chosen_ids") for prompt, answer, side in sides]
        batch = PackedCollator(2 * self.pairs_a_pass, longest=self.longest, is_filled=self.is_filled)(rows)
        chosen_tokens = sum(len(prompt) + len(answer) - 1 for prompt, answer, side in sides if side == "chosen_ids")
        slots = self._slots([(len(prompt), len(answer)) for prompt, answer, _ in sides], tokens=batch["input_ids"].shape[1])
        counts = {"pairs": len(pairs), "chosen_tokens": chosen_tokens}
        return {**batch, **counts, "slots": torch.tensor([slots]), "lasts": torch.tensor([self._lasts(rows)])}

    def _lasts(self, rows: Sequence[dict[str, list[int]]]) -> list[int]:
        """Of the rows that a smaller pass lacks: 0."""
        lasts, end = [0] * (2 * self.pairs_a_pass), 0
        for number, row in enumerate(rows):
            ids = row["input_ids"]
            lasts[number] = end + max((place for place, id in enumerate(ids) if id != self.pad_token_id), default=len(ids) - 1)
            end += len(ids)
        return lasts

    def _row(self, prompt: list[int], answer: list[int], *, is_chosen: bool) -> dict[str, list[int]]:
        asked = prompt if is_chosen and self.learns_asked else [IGNORED] * len(prompt)
        return {"input_ids": [*prompt, *answer], "labels": [*asked, *answer]}

    def _slots(self, lengths: Sequence[tuple[int, int]], *, tokens: int) -> list[int]:
        """Of the token before each: the last one of what was asked predicts the first one of the answer."""
        of_asked, nobodys = 2 * self.pairs_a_pass, 2 * self.pairs_a_pass + 1
        slots: list[int] = []
        for row, (asked, answered) in enumerate(lengths):
            before = of_asked if row % 2 == 0 and self.learns_asked else nobodys
            slots += [*[before] * (asked - 1), *[row] * answered, nobodys] if asked else [*[row] * (answered - 1), nobodys]
        return slots + [nobodys] * (tokens - len(slots))
