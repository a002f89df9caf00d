"""Stops a run at the step at which its weights are no finite numbers any more, or at which it has run away for long."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from worker.qlora.runaway import GuardState, RunawayGuard


class DivergenceWatch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Looks after each step, before it is told or saved: what is saved is finite."""

    def __init__(self, *, trainer: Any, state: GuardState | None) -> None:
        self._trainer = trainer
        self._weights = trainer.trained_tensors()
        self.guard = RunawayGuard(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = self._trainer.take_step_loss()
        if not are_finite(self._weights):
            raise self._trainer.diverged("a trained weight is not a finite number after it", step=state.global_step)
        if self.guard.add(loss):
            raise self._trainer.diverged(self.guard.in_words(), step=state.global_step, names_rows=False)


def are_finite(weights: Sequence[torch.Tensor]) -> bool:
    """By their norm: one number to wait for instead of one for each of some hundred tensors."""
    return bool(torch.isfinite(torch.nn.utils.get_total_norm([weight.detach() for weight in weights])))
