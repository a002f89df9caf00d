"""The largest pass of the whole run, forward and backward, before step 1: what does not fit fails in the first minute.

No weight changes. Gradients, random states and TRL's counters are put back; the order of the rows does not depend on it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from worker.contract.vram.stored import PAGED_FROM, state_bytes
from worker.qlora.data_order import Places
from worker.qlora.random_state import kept_random_state
from worker.qlora.telling import Teller


def is_rehearsed(*, on_card: bool) -> bool:
    """Always on a card. On a CPU memory is not that hard a limit, and the pass takes its time."""
    return on_card or os.environ.get("NIBBLE_TRAINER_REHEARSE") == "1"


def rehearse(trainer: Any, *, places: Places, teller: Teller) -> None:
    whole = [trainer.train_dataset[int(place)] for place in places]
    rows = [{name: row[name] for name in trainer.columns if name in row} for row in whole]
    longest = max(row.get("longest", row["length"]) for row in whole)
    teller.start_phase("Trying the longest batch", f"{len(rows)} rows of up to {longest} tokens, forward and backward")
    batch = trainer.data_collator(rows)
    with kept_random_state(), _kept_counters(trainer), _room_held(trainer):
        trainer.rehearse_pass(trainer.model_wrapped, batch)
        trainer.model_wrapped.zero_grad()


@contextmanager
def _kept_counters(trainer: Any) -> Iterator[None]:
    tokens, measures = trainer._total_train_tokens, {name: list(values) for name, values in trainer._metrics["train"].items()}
    try:
        yield
    finally:
        trainer._total_train_tokens = tokens
        trainer._metrics["train"].clear()
        trainer._metrics["train"].update(measures)


@contextmanager
def _room_held(trainer: Any) -> Iterator[None]:
    """Takes what later passes find taken: the gradients of the passes before them, and states that are made at step 1."""
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    passes = trainer.args.gradient_accumulation_steps
    gradients = sum(parameter.nbytes for parameter in trained if parameter.grad is None) if passes > 1 else 0
    held = torch.empty(gradients + _states_to_come(trainer), dtype=torch.uint8, device=trainer.args.device)
    try:
        yield
    finally:
        del held


def _states_to_come(trainer: Any) -> int:
    """Bytes that the optimizer keeps on the card from step 1 on. Paged states give way, so they count nothing."""
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    if inner.state:
        return 0
    optim = str(getattr(trainer.args.optim, "value", trainer.args.optim))
    weights = [weight for group in inner.param_groups for weight in group["params"]]
    pages = optim.startswith("paged_")
    return sum(
        int(state_bytes(optim, weight.numel(), weight_bytes=weight.element_size()))
        for weight in weights
        if not (pages and weight.numel() >= PAGED_FROM)
    )
