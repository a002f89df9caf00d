"""Packing under TRL's own forward: looks once whether this model keeps the rows of a bin apart, before anything is learned.

It is the model's attention that has to read it off the positions. Most do; one that does not would learn across rows in silence.
"""

from typing import Any

import torch

from worker.qlora.failures import RunFailed
from worker.qlora.random_state import kept_random_state

DIFFERENCE = 0.02  # of the logits' norm. 8-bit products choose their outliers over all rows, and differ by less than 0.01
FIRST, OTHER, SECOND = list(range(3, 11)), list(range(11, 19)), list(range(5, 13))


def check_kept_apart(trainer: Any) -> None:
    one, other = (_second_row(trainer, first) for first in (FIRST, OTHER))
    if float((one - other).norm()) > DIFFERENCE * float(one.norm()):
        raise RunFailed(
            "bad_config",
            "This model lets the rows of one bin see each other, so packing would change what is learned.",
            advice="Switch packing off.",
        )


def _second_row(trainer: Any, first: list[int]) -> torch.Tensor:
    """Its logits behind another row."""
    ids = [*first, *SECOND]
    batch = trainer.data_collator([{"input_ids": ids, "labels": ids, "seq_lengths": [len(first), len(SECOND)]}])
    batch = {name: value.to(trainer.args.device) if torch.is_tensor(value) else value for name, value in batch.items()}
    batch.pop("labels")
    was_training = trainer.model.training
    trainer.model.eval()
    try:
        with torch.no_grad(), kept_random_state():
            logits: torch.Tensor = trainer.model(**batch).logits[0, len(first) :].float()
    finally:
        trainer.model.train(was_training)
    return logits
