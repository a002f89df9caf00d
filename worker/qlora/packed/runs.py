"""Runs the trainer's passes through the decoder: as captured graphs on a card, one kernel after the other on a CPU."""

from typing import Any

import torch
from torch import Tensor

from worker.qlora.packed.captured import CapturedPasses
from worker.qlora.packed.decoder import Decoder, Pass


class PackedRuns:
    def __init__(self, decoder: Decoder, *, longest: int, device: torch.device) -> None:
        self.decoder, self._longest, self._device = decoder, longest, device
        self._captured = CapturedPasses(decoder) if device.type == "cuda" else None

    def train(self, batch: dict[str, Any], *, trained: int) -> Tensor:
        """Forward and backward; gradients are added up. `trained`: tokens of the whole effective batch that the loss is over."""
        given = self._pass(batch, scale=1.0 / max(trained, 1))
        if self._captured is not None:
            return self._captured.run(given).clone()
        loss = self.decoder.loss(given)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> float:
        """Σ of the trained tokens' losses."""
        return float(self.decoder.loss(self._pass(batch, scale=1.0), is_training=False))

    def _pass(self, batch: dict[str, Any], *, scale: float) -> Pass:
        seed = torch.randint(1 << 31, (1,))  # of torch's own generator, whose state checkpoints keep
        return Pass(
            ids=batch["input_ids"][0].to(self._device),
            labels=batch["labels"][0].to(self._device),
            positions=batch["positions"][0].to(self._device),
            ends=batch["ends"][0].to(self._device),
            scale=torch.tensor([scale]).to(self._device),
            seed=seed.to(self._device),
            longest=self._longest,
        )
