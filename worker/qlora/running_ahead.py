"""A card that never waits for Python: it is given the next pass before anybody has read what the last step came to.

Between two steps of a 7B model the loop of transformers, telling and starting a captured pass take 20 ms (H100, docs/log.md), a third of
a step of four short rows. So a step's numbers go to the host beside the work, and are looked at and told when the next pass is under way.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.qlora.distributed import is_several
from worker.qlora.divergence import norm_of
from worker.qlora.packed_training import PackedTrainer
from worker.qlora.training import WatchedSft


@dataclass(frozen=True)
class Unread:
    """The numbers of a step, on their way to the host."""

    step: int
    numbers: Tensor
    """(4,) float32: the step's loss, the norms of its gradient and of the weights after it, the losses since the last log."""
    arrived: Any
    tell: Callable[[float, Tensor], None] | None
    """With the gradient's norm and the losses since the last log; None where the step is not logged, or has been."""


def sent_to_host(numbers: list[Tensor]) -> tuple[Tensor, Any]:
    """And what to wait for; nothing on a CPU, where they are there."""
    here = torch.stack([number.detach().float() for number in numbers])
    if not here.is_cuda:
        return here, None
    there = torch.empty(len(numbers), pin_memory=True).copy_(here, non_blocking=True)
    return there, torch.cuda.current_stream().record_event()


class RunningAhead(PackedTrainer):
    """No step is saved, evaluated or the last one before its numbers are read."""

    _losses: Tensor | None = None
    _unread: Unread | None = None

    @property
    def runs_ahead(self) -> bool:
        """On a card. Several processes meet after each pass anyway, and a loss scale is found step by step."""
        return torch.cuda.is_available() and not is_several() and self.accelerator.scaler is None

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if not self.runs_ahead:
            return super().training_step(*args, **kwargs)
        try:
            loss = self.run_pass(*args, **kwargs)
        except Exception:
            with suppress(RuntimeError):  # of a card that answers no more
                self.read_step()  # the step before has ended all the same
            raise
        self._losses = loss.detach() if self._losses is None else self._losses + loss.detach()
        return loss

    def count_tokens(self, inputs: Any) -> None:
        """The pass has begun: the time to read the step before."""
        self.read_step()
        super().count_tokens(inputs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.runs_ahead and type(optimizer).__module__.startswith("bitsandbytes"):
            wait_for_no_kernel()
        return optimizer

    def _maybe_log_save_evaluate(self, since_log: Tensor, grad_norm: Any, *args: Any, **kwargs: Any) -> None:
        losses, self._losses = self._losses, None
        if losses is None:  # of several processes; or the end of an epoch, which is no step
            super()._maybe_log_save_evaluate(since_log, grad_norm, *args, **kwargs)
            return

        def tell(norm: float, losses_since: Tensor) -> None:
            self.control.should_log = True
            super(RunningAhead, self)._maybe_log_save_evaluate(losses_since, norm, *args, **kwargs)

        goes_on = not self._is_due()
        norm = torch.as_tensor(grad_norm, device=losses.device)
        numbers, arrived = sent_to_host([losses, norm, norm_of(self.divergence.weights), since_log])
        self._unread = Unread(self.state.global_step, numbers, arrived, tell if goes_on and self.control.should_log else None)
        if not goes_on:
            self.read_step()
            super()._maybe_log_save_evaluate(since_log, grad_norm, *args, **kwargs)
        elif self.control.should_log:
            since_log.zero_()
            self.control.should_log = False

    def _is_due(self) -> bool:
        control = self.control
        stops = control.should_training_stop or control.should_epoch_stop or self.state.global_step >= self.state.max_steps
        return bool(stops or control.should_save or control.should_evaluate)

    def read_step(self) -> None:
        """Waits for the last step's numbers, if nobody has read them; raises Diverged for what is none."""
        unread, self._unread = self._unread, None
        if unread is None:
            return
        if unread.arrived is not None:
            unread.arrived.synchronize()
        loss, grad_norm, weights, _ = unread.numbers.tolist()
        self.check_loss(loss, step=unread.step)
        self.check_norm(grad_norm, step=unread.step)
        self.divergence.look(loss, weights=weights, step=unread.step)
        if unread.tell is not None:
            unread.tell(grad_norm, unread.numbers[3].clone())


def wait_for_no_kernel() -> None:
    """bitsandbytes waits for the card twice in each step of a paged optimizer. Prefetch, update and the next pass are on one stream,
    and the host reads the states for checkpoints alone, when the numbers of the step have arrived, and so the states."""
    from bitsandbytes.optim import optimizer

    optimizer.sync_gpu = lambda tensor: None


class PackedSft(RunningAhead, WatchedSft):
    pass
