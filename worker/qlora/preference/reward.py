"""Reward modelling, watched: a score head is trained beside the adapter and saved with it."""

from typing import Any

from torch import Tensor
from trl import RewardTrainer

from worker.qlora.preference.trainer import PreferenceTrainer


class WatchedReward(PreferenceTrainer, RewardTrainer):  # type: ignore[misc]  # trl has no types
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        head = next(module for name, module in self.model.named_modules() if name.split(".")[-1] == "score")
        head.register_forward_pre_hook(in_its_type, with_kwargs=False)


def in_its_type(head: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The head trains in float32 like the adapter, but nobody casts for it: without autocast it would be given 16 bits."""
    dtype = next(parameter for parameter in head.parameters() if parameter.requires_grad).dtype
    return (given[0].to(dtype), *given[1:])
