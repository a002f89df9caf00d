"""Rows into padded batches, as each of TRL's trainers expects them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trl.trainer.dpo_trainer import DataCollatorForPreference

from worker.rows.tokens import IGNORED


@dataclass(frozen=True)
class PairCollator:
    """DPO: chosen answers first, then the rejected ones."""

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return dict(DataCollatorForPreference(self.pad_token_id)(list(rows)))


@dataclass(frozen=True)
class OrpoCollator(PairCollator):
    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = super().__call__(rows)
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
        sides = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}
        pairs = len(rows)
        chosen = {f"chosen_{name}": values[:pairs] for name, values in sides.items()}
        return chosen | {f"rejected_{name}": values[pairs:] for name, values in sides.items()}


@dataclass(frozen=True)
class RewardCollator(PairCollator):
    """A score is of the whole sequence: no mask."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = super().__call__(rows)
        return {name: batch[name] for name in ("input_ids", "attention_mask")}


@dataclass(frozen=True)
class KtoCollator:
    """Each row also gets the answer of the row before it in the same pass: what the KL term is estimated from.

    TRL lays these out once, in the order of the file, and so must not shuffle; here they follow the order of the rows.
    """

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

        turned = [
            {**row, "KL_completion_ids": rows[place - 1]["completion_ids"]}  # of the first row: the last one's
            for place, row in enumerate(rows)
        ]
        return dict(DataCollatorForUnpairedPreference(self.pad_token_id)(turned))
