"""What a trainer does otherwise when it is one of several: its own rows of each step, one sum of the gradients, one who saves.

accelerate makes the processes known to transformers, which then scales losses for a mean over them. The model is not wrapped:
DDP's hooks would sum inside the backward pass, which captured passes and 4-bit layers do not take, and need every weight used.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from worker.qlora.data_order import DataOrder, EpochSampler
from worker.qlora.distributed import add_up, is_several, mean, sums, take_from_first, wait_for_all
from worker.qlora.ranks import RANK_STRIDE, this_rank
from worker.qlora.sharing import EvenSampler, RankSampler, SharedOrder, WithFiller

RNG_FILE = "rng_state.pth"


class SharingTrainer:
    """Beside a transformers Trainer, before it among the bases. Alone, it changes nothing."""

    args: Any
    accelerator: Any
    model: Any
    state: Any
    _total_train_tokens: int
    _tokens_before, _tokens_of_step = 0, 0
    _is_evaluating = False

    # The model and its rows

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        if is_several():
            take_from_first([parameter.data for parameter in self.trained()])
            # Not wrapped, and not moved: to accelerate "cpu" and "cpu:0" are two devices, and packed weights would be copied.
            asked = partial(self.accelerator.prepare_model, evaluation_mode=True)
            self.accelerator.prepare_model = lambda model, device_placement=None: asked(model, device_placement=False)
        return super()._prepare_for_training(*args, **kwargs)  # type: ignore[misc]

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """Of several, each has loaded its model where it is to lie; one that is to be split may not fit on a card before."""
        if not is_several():
            super()._move_model_to_device(model, device)  # type: ignore[misc]

    def trained(self) -> list[Any]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        if not is_several():
            return super()._get_dataloader(*args, **kwargs)  # type: ignore[misc]
        with unshared(self.accelerator):  # the samplers give this process's rows: accelerate would share them out once more
            return super()._get_dataloader(*args, **kwargs)  # type: ignore[misc]

    def _remove_unused_columns(self, *args: Any, **kwargs: Any) -> Any:
        rows = super()._remove_unused_columns(*args, **kwargs)  # type: ignore[misc]
        return WithFiller(rows) if is_several() else rows

    def train_sampler(self, order: DataOrder) -> Sampler[int]:
        return RankSampler(order, rank=this_rank().number) if isinstance(order, SharedOrder) else EpochSampler(order)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        rank = this_rank()
        if is_several():
            return EvenSampler(rows=len(eval_dataset), rank=rank.number, count=rank.count)
        return super()._get_eval_sampler(eval_dataset)  # type: ignore[misc]

    # A step

    def gradients(self) -> tuple[Sequence[Tensor], float]:
        """What is summed, and times what. transformers scales each process's loss so that a mean is right."""
        for parameter in self.trained():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.trained()], 1.0 / this_rank().count

    def share_pass(self, loss_of_step: float) -> float | None:
        """After a pass. The step's loss over all processes after its last one, else None."""
        if not is_several():
            return loss_of_step
        if not self.accelerator.sync_gradients:
            return None
        gradients, share = self.gradients()
        add_up(gradients, share=share)
        self._total_train_tokens = self._tokens_before + self._tokens_of_step
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]  # type: ignore[attr-defined]
        return mean(loss_of_step)

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> Any:
        if is_several() and not self._is_evaluating:
            self._tokens_before = self._total_train_tokens
            self._tokens_of_step = int(sums(sum(map(tokens_of, batch_samples)))[0])
        return super()._get_num_items_in_batch(batch_samples, device)  # type: ignore[misc]

    # Random states and saving

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)  # type: ignore[misc]
        first = Path(output_dir) / "rng_state_0.pth"
        if is_several() and this_rank().is_first:
            first.rename(first.with_name(RNG_FILE))

    def load_random_states(self, checkpoint: str, *, load: Callable[[str], None]) -> None:
        """Each process's own. Saved by another number of processes, none of them fits: dropout draws anew."""
        rank = this_rank()
        if len(list(Path(checkpoint).glob("rng_state*.pth"))) != rank.count:
            draw_anew(self.args.seed + RANK_STRIDE * self.state.global_step + rank.number)
            return
        if rank.count == 1:
            load(checkpoint)
            return
        saved = Path(checkpoint) / (RNG_FILE if rank.is_first else f"rng_state_{rank.number}.pth")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"rng_state_{rank.number}.pth").symlink_to(saved.resolve())
            load(folder)

    def publish(self, publish: Callable[[], None]) -> None:
        """By the first process, when all have written what is theirs; the others wait until it is done."""
        wait_for_all()
        if this_rank().is_first:
            publish()
        wait_for_all()

    @contextmanager
    def evaluating_own_rows(self) -> Iterator[None]:
        """transformers would divide each pass's loss by the tokens of all processes' passes."""
        asked = self.args.average_tokens_across_devices
        self.args.average_tokens_across_devices, self._is_evaluating = asked and not is_several(), True
        try:
            yield
        finally:
            self.args.average_tokens_across_devices, self._is_evaluating = asked, False


@contextmanager
def unshared(accelerator: Any) -> Iterator[None]:
    from accelerate.data_loader import prepare_data_loader

    def prepare(loader: Any) -> Any:
        return prepare_data_loader(loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True)

    accelerator.prepare = prepare
    try:
        yield
    finally:
        del accelerator.prepare


def tokens_of(batch: Any) -> int:
    """Without padding and without fillers."""
    if "tokens" in batch:
        return int(batch["tokens"])
    if "attention_mask" not in batch:  # bins: rows end to end
        rows = (batch["position_ids"] == 0).cumsum(-1)
        return int(torch.isin(rows, rows[batch["labels"] >= 0]).sum())
    if "labels" not in batch:
        return int(batch["attention_mask"].sum())
    real = (batch["labels"] >= 0).any(1)
    return int(batch["attention_mask"][real].sum())


def draw_anew(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # the libraries draw from this one
    torch.manual_seed(seed)
