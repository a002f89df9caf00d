"""ORPO, watched. TRL keeps it under trl.experimental: what it lacks beside the other trainers is added here."""

from collections import defaultdict
from typing import Any

from datasets import Dataset
from peft import get_peft_model
from torch import Tensor
from transformers import set_seed
from trl.experimental.orpo import ORPOTrainer

from worker.qlora.preference.trainer import PreferenceTrainer

NLL = 4  # where concatenated_forward keeps the chosen answers' own loss


class WatchedOrpo(PreferenceTrainer, ORPOTrainer):  # type: ignore[misc]  # trl has no types
    """The chosen rows' own loss is the token mean over the effective batch, the preference's the pair mean."""

    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    _step_tokens = 0
    _step_pairs = 0

    def __init__(self, *, model: Any, args: Any, peft_config: Any = None, **options: Any) -> None:
        """Given a PEFT config, ORPOTrainer would make every norm of a quantised model float32; the adapter is added as in SFT."""
        set_seed(args.seed)
        model = get_peft_model(model, peft_config) if peft_config is not None else model
        datasets = {name: Untouched.of(options.pop(name)) for name in ("train_dataset", "eval_dataset")}
        super().__init__(model=model, args=args, **datasets, **options)
        self.use_dpo_data_collator = True
        # gather_for_metrics takes rows of an epoch's last pass for doubles and leaves them out of the measures
        self.accelerator.gather_for_metrics = self.accelerator.gather
        self._metrics: Any = {"train": defaultdict(list), "eval": defaultdict(list)}
        self._total_train_tokens = 0

    def items_of(self, batch: Any) -> int:
        return len(batch["chosen_labels"])

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> Any:
        self._step_tokens = sum(chosen_tokens(batch) for batch in batch_samples)
        self._step_pairs = sum(self.items_of(batch) for batch in batch_samples)
        return super()._get_num_items_in_batch(batch_samples, device)

    def run_pass(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss = super().run_pass(model, inputs, num_items_in_batch)
        self._total_train_tokens += sum(int(inputs[f"{side}_attention_mask"].sum()) for side in ("chosen", "rejected"))
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss

    def concatenated_forward(self, model: Any, batch: Any) -> Any:
        """run_pass weighs the pass by its pairs; the chosen rows' own loss is to be weighed by its tokens."""
        found = list(super().concatenated_forward(model, batch))
        if self.model.training and self._step_tokens:
            weight = chosen_tokens(batch) / self._step_tokens * self._step_pairs / self.items_of(batch)
            found[NLL] = found[NLL] * weight
        return tuple(found)

    def store_metrics(self, metrics: dict[str, float], train_eval: Any = "train") -> None:
        for name, value in metrics.items():
            self._metrics[train_eval][name].append(value)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        found = self._metrics["train" if "loss" in logs else "eval"]
        logs |= {name: sum(values) / len(values) for name, values in found.items()}
        found.clear()
        super().log(logs, *args, **kwargs)

    def add_evaluated(self, loss: float, inputs: Any) -> None:
        nll = self._metrics["eval"]["eval_nll_loss"][-1]
        self.add_to_eval_loss("preference", loss - nll, self.items_of(inputs))
        self.add_to_eval_loss("nll", nll, chosen_tokens(inputs))


def chosen_tokens(batch: Any) -> int:
    """Of the chosen rows, all that is predicted: what was asked, too."""
    return int(batch["chosen_attention_mask"][:, 1:].sum())


class Untouched(Dataset):  # type: ignore[misc]  # datasets has no types
    """ORPOTrainer always maps its rows through a tokenizer; these are tokenised."""

    @classmethod
    def of(cls, rows: Dataset | None) -> "Untouched | None":
        return None if rows is None else cls(rows.data, info=rows.info, fingerprint=rows._fingerprint)

    def map(self, *args: Any, **kwargs: Any) -> "Untouched":
        return self
