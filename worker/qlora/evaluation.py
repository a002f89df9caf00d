"""Evaluation that leaves no trace in the training, and whose loss does not depend on how the rows were run."""

from typing import Any

import torch
from transformers import Trainer

from worker.qlora.distributed import sums
from worker.qlora.failures import failing_at
from worker.qlora.random_state import kept_random_state
from worker.qlora.sharing_trainer import SharingTrainer
from worker.qlora.telling import Teller
from worker.rows.tokens import IGNORED


class EvaluatingTrainer(SharingTrainer, Trainer):  # type: ignore[misc]  # transformers is not followed
    """The eval loss is the mean over all trained tokens of the held-out rows, or over all of their pairs.

    transformers takes the mean of each pass and then the mean of those by rows: with other rows a pass it is another number.
    """

    teller: Teller
    _eval_sums: dict[str, tuple[float, int]]
    """Parts of the eval loss: the sum over what they are the mean of, and how many those are."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self.teller.start_phase("Evaluating", f"{len(self.eval_dataset)} rows")
        with failing_at(lambda: self.state.global_step), kept_random_state(), self.evaluating_own_rows():
            metrics = super().evaluate(*args, **kwargs)
        if self.state.global_step < self.state.max_steps and not self.control.should_training_stop:
            self.teller.start_phase("Training")
        return metrics

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        self.add_evaluated(float(loss), inputs)
        return loss, logits, labels

    def weigh(self, inputs: Any) -> int:
        """What the loss of these rows is the mean of: tokens, pairs or rows."""
        return int(torch.count_nonzero(inputs["labels"][:, 1:] != IGNORED))

    def add_evaluated(self, loss: float, inputs: Any) -> None:
        self.add_to_eval_loss("loss", loss, self.weigh(inputs))

    def add_to_eval_loss(self, part: str, mean: float, weight: int) -> None:
        total, weights = self._eval_sums.get(part, (0.0, 0))
        # of a filler alone the mean is no number
        self._eval_sums[part] = (total + (mean * weight if weight else 0.0), weights + weight)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        self._eval_sums = {}
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        parts = [sums(*self._eval_sums[part]) for part in sorted(self._eval_sums)]
        output.metrics[f"{metric_key_prefix}_loss"] = sum(total / max(weights, 1) for total, weights in parts)
        return output
