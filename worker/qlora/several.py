"""What a run of several processes asks of the job before it loads anything, and what it says of itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from worker.contract.sharing import why_not_shared
from worker.contract.spec import FinetuneSpec
from worker.qlora.data_order import DataOrder, Places
from worker.qlora.distributed import is_several, wait_for_all
from worker.qlora.failures import RunFailed
from worker.qlora.ranks import RANK_STRIDE, this_rank
from worker.qlora.sharing import SharedOrder
from worker.qlora.telling import Teller


def check_shared(spec: FinetuneSpec, *, teller: Teller) -> None:
    count = this_rank().count
    if why_not := why_not_shared(spec, num_processes=count):
        raise RunFailed("bad_config", why_not)
    if count != spec.plan.num_processes:
        teller.give_notice(
            f"The job asks for {of(spec.plan.num_processes)} and runs in {count}; the rows of a step and the result stay the same."
        )


def of(count: int) -> str:
    return f"{count} process{'es' * (count > 1)}"


def order_of(*, rows: int, spec: FinetuneSpec, lengths: Places) -> DataOrder:
    batch, seed, count = spec.training.effective_batch, spec.training.seed, this_rank().count
    if count == 1:
        return DataOrder(rows=rows, effective_batch=batch, seed=seed)
    return SharedOrder(rows=rows, effective_batch=batch, seed=seed, lengths=np.asarray(lengths), count=count)


def by_first(act: Callable[[], None]) -> None:
    """What touches the run directory: done once, before anybody goes on."""
    if this_rank().is_first:
        act()
    wait_for_all()


def draw_by_rank(seed: int) -> None:
    """Dropout differs between the processes, as it does between rows. The adapter was made with one seed for all."""
    if is_several():
        torch.manual_seed(seed + RANK_STRIDE * this_rank().number)


def folder_by_rank(folder: Path) -> Path:
    """What each process keeps for itself, under names of their own."""
    return folder if this_rank().is_first else folder.with_name(f"{folder.name}-{this_rank().number}")


def sharing_in_words() -> tuple[str, ...]:
    """Among the reasons of the execution plan, which the job page shows."""
    count = this_rank().count
    if count == 1:
        return ()
    where = "GPUs" if torch.cuda.is_available() else "processes on the CPU"
    return (
        f"The rows of each step are shared out to {count} {where}; gradients are added up once a step. "
        "Memory and utilisation are those of the fullest. What follows is for each.",
    )
