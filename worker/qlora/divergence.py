"""Stops a run at the step at which its weights are no finite numbers any more, or at which it has run away for long."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from worker.qlora.runaway import GuardState, RunawayGuard


class DivergenceWatch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Looks after each step, before it is told or saved: what is saved is finite."""

    def __init__(self, *, trainer: Any, state: GuardState | None) -> None:
        self._trainer = trainer
        self.weights = trainer.trained_tensors()
        self.guard = RunawayGuard(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._trainer.runs_ahead:  # else it calls when it has read the step's numbers
            self.look(self._trainer.take_step_loss(), weights=float(norm_of(self.weights)), step=state.global_step)

    def look(self, loss: float, *, weights: float, step: int) -> None:
        """`weights`: their norm after the step."""
        if not math.isfinite(weights):
            raise self._trainer.diverged("a trained weight is not a finite number after it", step=step)
        if self.guard.add(loss):
            raise self._trainer.diverged(self.guard.in_words(), step=step, names_rows=False)


def norm_of(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """One number to wait for instead of one for each of some hundred tensors."""
    return torch.nn.utils.get_total_norm([weight.detach() for weight in weights])
