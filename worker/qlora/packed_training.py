"""The trainers whose passes run packed. Loop, optimizer, scheduler, checkpoints and callbacks stay transformers' and ours."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.contract.vram.execution import ELEMENTWISE
from worker.qlora.distributed import sums
from worker.qlora.packed.runs import PackedRuns
from worker.qlora.ranks import this_rank
from worker.qlora.training import WatchedTrainer


class PackedTrainer(WatchedTrainer):
    """Stands before a watched trainer of TRL's."""

    packed: PackedRuns

    def take_packed(self, packed: PackedRuns) -> None:
        """After the model is made and before the optimizer is."""
        self.packed = packed
        # transformers drops gradients after each step; captured passes add into buffers that must stay
        self.model.zero_grad = lambda set_to_none=True: packed.decoder.adapter.zero_grads()
        self._is_one_tensor = packed.decoder.adapter.weights.numel() == sum(weight.numel() for weight in super().trained_tensors())
        if self._is_one_tensor:  # one norm instead of 448 in a 7B model
            self.accelerator.clip_grad_norm_ = lambda parameters, max_norm, norm_type=2: self._clip(max_norm)

    def _clip(self, max_norm: float) -> Tensor:
        weights = torch.nn.Parameter(self.packed.decoder.adapter.weights)
        weights.grad = self.packed.decoder.adapter.grads
        return torch.nn.utils.clip_grad_norm_([weights], max_norm)

    def trained_tensors(self) -> list[Tensor]:
        return [self.packed.decoder.adapter.weights] if self._is_one_tensor else super().trained_tensors()

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        if str(getattr(self.args.optim, "value", self.args.optim)) not in ELEMENTWISE:
            return super().create_optimizer(*args, **kwargs)
        if getattr(self, "optimizer", None) is None:
            adapter = self.packed.decoder.adapter
            weights = torch.nn.Parameter(adapter.weights)
            weights.grad = adapter.grads
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind([{"params": [weights], "weight_decay": self.args.weight_decay}], **options)
        return self.optimizer

    def run_pass(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        if not model.training:  # it goes through the 2,600 modules of a 7B model with an adapter
            model.train()
        trained = int(num_items_in_batch if num_items_in_batch is not None else inputs["trained"])
        loss = self.packed.train(inputs, trained=trained)[0]
        self.count_tokens(inputs)
        return loss * this_rank().count  # transformers tells the mean over the processes

    def rehearse_pass(self, model: Any, inputs: Any) -> None:
        self.packed.rehearse(inputs)

    def count_tokens(self, inputs: Any) -> None:
        self._total_train_tokens += inputs["tokens"]
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def gradients(self) -> tuple[Sequence[Tensor], float]:
        """One sum for all weights, outside of the captured passes. They are over the whole batch's tokens: nothing to divide."""
        return [self.packed.decoder.adapter.grads], 1.0

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> int:
        super()._get_num_items_in_batch([{"tokens": batch["tokens"]} for batch in batch_samples], device)
        return int(sums(sum(int(batch["trained"]) for batch in batch_samples))[0])

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        mean = self.packed.evaluate(inputs)[0] / max(inputs["trained"], 1)
        self.add_to_eval_loss("loss", mean, inputs["trained"])
        return torch.tensor(mean), None, None
