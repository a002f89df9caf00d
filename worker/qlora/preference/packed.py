"""DPO, ORPO and reward modelling whose passes run packed: measures and losses are means over the pairs of the effective batch."""

from typing import Any

import torch
from torch import Tensor

from worker.qlora.packed_training import PackedTrainer
from worker.qlora.preference.dpo import WatchedDpo
from worker.qlora.preference.orpo import WatchedOrpo
from worker.qlora.preference.reward import WatchedReward

OF_TOKENS = ("nll_loss",)
"""Measures that are means over the tokens of the chosen rows."""


class PackedPairs(PackedTrainer):
    _step_tokens = 1
    _measured_step = -1

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> int:
        self._step_tokens = sum(int(batch["chosen_tokens"]) for batch in batch_samples)
        return sum(int(batch["pairs"]) for batch in batch_samples)

    def run_pass(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        if not model.training:
            model.train()
        pairs = int(num_items_in_batch if num_items_in_batch is not None else inputs["pairs"])
        found = self.packed.train(inputs, trained=pairs, tokens=self._step_tokens)
        self.count_tokens(inputs)
        self._measure(dict(zip(self.packed.loss.told, found[1:].tolist(), strict=True)))
        return found[0]

    def _measure(self, told: dict[str, float]) -> None:
        """Each pass brings its share: those of a step add up to one number."""
        is_first = self._measured_step != self.state.global_step
        self._measured_step = self.state.global_step
        for name, value in told.items():
            values = self._metrics["train"][name]
            if is_first or not values:
                values.append(value)
            else:
                values[-1] += value

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss, *sums = self.packed.evaluate(inputs)
        told = dict(zip(self.packed.loss.told, sums, strict=True))
        nll = told.get("nll_loss", 0.0)
        self.add_to_eval_loss("preference", (loss - nll) / inputs["pairs"], inputs["pairs"])
        self.add_to_eval_loss("nll", nll / inputs["chosen_tokens"], inputs["chosen_tokens"])
        for name, value in told.items():
            weight = inputs["chosen_tokens" if name in OF_TOKENS else "pairs"]
            total, weights = self._eval_measures.get(name, (0.0, 0))
            self._eval_measures[name] = (total + value, weights + weight)
        return torch.tensor(loss / inputs["pairs"]), None, None

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        self._eval_measures: dict[str, tuple[float, int]] = {}
        output = super().evaluation_loop(*args, **kwargs)
        for name, (total, weights) in self._eval_measures.items():
            output.metrics[f"eval_{name}"] = total / weights
        return output


class PackedDpo(PackedPairs, WatchedDpo):
    pass


class PackedReward(PackedPairs, WatchedReward):
    pass


class PackedOrpo(PackedPairs, WatchedOrpo):
    pass
