"""Runs the trainer's passes through the decoder: as captured graphs on a card, one kernel after the other on a CPU."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.contract.filling import filled
from worker.qlora.data_order import Places
from worker.qlora.packed.captured import CapturedPasses, inputs_of
from worker.qlora.packed.decoder import Decoder, Pass
from worker.qlora.packed.lengths import OF_A_LAYER, worth_capturing
from worker.qlora.packed.losses import PassLoss, TokenLoss


class PackedRuns:
    def __init__(self, decoder: Decoder, *, longest: int, device: torch.device, loss: PassLoss | None = None) -> None:
        self.decoder, self._longest, self._device = decoder, longest, device
        self.loss = loss or TokenLoss(decoder)
        self._captured = CapturedPasses(decoder, self._forward) if device.type == "cuda" else None

    def expect(self, tokens: Places) -> None:
        """Of every pass to come: decides which lengths are captured."""
        if self._captured is not None:
            passes: Counter[int] = Counter()
            for each, count in zip(*np.unique(tokens, return_counts=True), strict=True):  # of a million passes, some thousand
                passes[filled(int(each))] += int(count)
            self._captured.lengths = worth_capturing(passes, capture_tokens=OF_A_LAYER / self.decoder.layer_weights)

    def train(self, batch: dict[str, Any], *, trained: int, tokens: int = 1) -> Tensor:
        """Forward and backward; gradients are added up. Returns the loss and what else the objective tells, as `loss.told` says.

        `trained`: what the loss is the mean of in the whole effective batch, tokens or pairs. `tokens`: of its chosen rows.
        """
        given = self._pass(batch, items=trained, tokens=tokens)
        if self._captured is not None:
            return self._captured.run(given).clone()
        loss, told = self._forward(given)
        loss.backward()
        return told

    def rehearse(self, batch: dict[str, Any]) -> None:
        """Takes the memory of such a pass. On a card its graph is made, and not started: 0.3 s of a 7B model's first step."""
        given = self._pass(batch, items=1, tokens=1)
        if self._captured is not None:
            self._captured.prepare(given)
        else:
            self._forward(given)[0].backward()

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> list[float]:
        """As `train`, but sums instead of means."""
        _, told = self.loss.forward(self._pass(batch, items=1, tokens=1), is_training=False)
        return told.tolist()

    def _forward(self, given: Pass) -> tuple[Tensor, Tensor]:
        return self.loss.forward(given, is_training=True)

    def _pass(self, batch: dict[str, Any], *, items: int, tokens: int) -> Pass:
        common = {name: batch[key][0] for name, key in KEYS.items()}
        common["seed"] = torch.randint(1 << 31, (1,))  # of torch's own generator, whose state checkpoints keep
        given = self.loss.make({**common, "longest": self._longest}, batch, items=items, tokens=tokens)
        moved: dict[str, Any] = {name: self._there(getattr(given, name)) for name in inputs_of(given)}
        return replace(given, **moved)

    def _there(self, tensor: Tensor) -> Tensor:
        """On the device, without waiting for what it is doing: from pinned memory it fetches by itself."""
        if self._device.type != "cuda" or tensor.is_cuda:
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)


KEYS = {"ids": "input_ids", "labels": "labels", "positions": "positions", "ends": "ends"}
