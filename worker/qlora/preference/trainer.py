"""What TRL's preference trainers share here: rows that come tokenised, and a loss that is the mean over the effective batch."""

from typing import Any

from torch import Tensor

from worker.qlora.training import WatchedTrainer


class PreferenceTrainer(WatchedTrainer):
    """Stands before one of TRL's trainers.

    The loss is the mean over all pairs (KTO: rows) of the effective batch. TRL takes the mean of each pass and then of those,
    by which a pair in a smaller last pass would count more.
    """

    columns: tuple[str, ...] = ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps")

    def items_of(self, batch: Any) -> int:
        return len(batch["input_ids"]) // 2

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(self.columns)

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> Any:
        """Of the whole step. In one process: preferences are not shared out (worker.contract.sharing)."""
        return sum(self.items_of(batch) for batch in batch_samples)

    def run_pass(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        model.train()
        inputs = self._prepare_inputs(inputs)
        items = self.items_of(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs)
        loss = loss * (items / (num_items_in_batch or items))
        self.accelerator.backward(loss)
        return loss.detach()  # type: ignore[no-any-return]

    def weigh(self, inputs: Any) -> int:
        return self.items_of(inputs)
