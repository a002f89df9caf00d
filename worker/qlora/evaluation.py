"""Evaluation that leaves no trace in the training, and whose loss does not depend on how the rows were run."""

from typing import Any

import torch
from trl import SFTTrainer

from worker.qlora.failures import failing_at
from worker.qlora.random_state import kept_random_state
from worker.qlora.telling import Teller

IGNORED = -100


class EvaluatingTrainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
    """The eval loss is the mean over all trained tokens of the held-out rows.

    transformers takes the mean of each pass and then the mean of those by rows: with other rows a pass it is another number.
    """

    teller: Teller
    _eval_loss_sum = 0.0
    _eval_tokens = 0

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self.teller.start_phase("Evaluating", f"{len(self.eval_dataset)} rows")
        with failing_at(lambda: self.state.global_step), kept_random_state():
            metrics = super().evaluate(*args, **kwargs)
        if self.state.global_step < self.state.max_steps and not self.control.should_training_stop:
            self.teller.start_phase("Training")
        return metrics

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        tokens = int(torch.count_nonzero(inputs["labels"][:, 1:] != IGNORED))
        self._eval_loss_sum += float(loss) * tokens
        self._eval_tokens += tokens
        return loss, logits, labels

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        self._eval_loss_sum, self._eval_tokens = 0.0, 0
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        output.metrics[f"{metric_key_prefix}_loss"] = self._eval_loss_sum / max(self._eval_tokens, 1)
        return output
