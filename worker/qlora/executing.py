"""How this run is executed on this machine: packed if the model allows it, as fast as the free memory lets it."""

import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import torch

from worker.contract.filling import filled
from worker.contract.packing import DecoderSizes, Way, choose_way, need_bytes, way_of, with_unpacked
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.estimate import KEPT_FREE, pass_budget
from worker.contract.vram.execution import decoder_sizes
from worker.qlora.data_order import DataOrder, Places
from worker.qlora.distributed import least
from worker.qlora.packed.decoder import WHOLE, Thrift
from worker.qlora.packed.refusing import why_not_packed
from worker.qlora.precision import Precision

OF_HOST = 0.5  # of the host's free memory on a CPU: it is not ours alone


def plan_execution(
    model: Any,
    *,
    spec: FinetuneSpec,
    precision: Precision,
    asked: PassPlan,
    is_smaller: bool,
    order: DataOrder,
    lengths: Places,
    steps: int,
    kept: ExecutionPlan | None = None,
) -> ExecutionPlan:
    """`is_smaller`: CUDA ran out of memory before, and `asked` is what is to be tried now.

    `kept`: of the checkpoint that the run goes on from; it is gone on with where it fits.
    """
    kept = None if is_smaller else kept
    if why_not := why_not_packed(model.config, spec=spec, precision=precision):
        passes = kept.passes if kept is not None and kept.kind == "plain" else asked
        return ExecutionPlan(kind="plain", passes=passes, reasons=(f"Rows are run as TRL runs them: {why_not}.",))
    shape, mean = shape_of(model.config.to_dict()), float(np.mean(lengths))
    sizes = replace(decoder_sizes(spec, shape), number_bytes=torch.finfo(getattr(torch, precision.dtype)).bits // 8)
    budget = pass_budget(spec, shape, free_bytes=int(least(free_bytes())))
    largest = {
        rows: most_tokens(order, lengths, rows=rows, steps=steps)
        for rows in divisors(asked.effective_batch)
        if not is_smaller or rows <= asked.per_device_train_batch_size
    }
    if kept is not None and kept.kind == "packed":
        tokens = largest[kept.passes.per_device_train_batch_size]
        kept = kept.model_copy(update={"unpacked_layers": 0})
        if (need := need_bytes(kept, sizes=sizes, tokens=tokens)) <= budget:
            again = Way(kept, need, 0.0)
            if torch.cuda.is_available() and spec.plan.keep_unpacked:
                again = with_unpacked(again, sizes=sizes, budget_bytes=budget)
            said = reasons(again, tokens=tokens, budget=budget, sizes=sizes)
            return again.plan.model_copy(update={"reasons": ("Rows are run as they were up to the checkpoint.", *said)})
    if is_smaller:
        recomputed = sizes.layers if asked.activation_checkpointing else 0
        rows = asked.per_device_train_batch_size
        way = way_of(asked, sizes=sizes, tokens=largest[rows], mean_row=mean, recomputed=recomputed, is_sliced=recomputed > 0)
    else:
        way = choose_way(
            asked,
            sizes=sizes,
            largest=largest,
            mean_row=mean,
            budget_bytes=budget,
            has_host=torch.cuda.is_available(),
            keeps_unpacked=spec.plan.keep_unpacked,
        )
    tokens = largest[way.plan.passes.per_device_train_batch_size]
    return way.plan.model_copy(update={"reasons": reasons(way, tokens=tokens, budget=budget, sizes=sizes)})


def is_same(one: ExecutionPlan, other: ExecutionPlan) -> bool:
    """But for what the memory that is free decides without a digit's difference."""
    own: dict[str, Any] = {"reasons": (), "unpacked_layers": 0}
    return one.model_copy(update=own) == other.model_copy(update=own)


def reasons(way: Way, *, tokens: int, budget: int, sizes: DecoderSizes) -> tuple[str, ...]:
    plan, passes = way.plan, way.plan.passes
    unpacked = plan.unpacked_layers * sizes.unpacked_layer
    rows = passes.per_device_train_batch_size
    said = [
        f"{counted(rows, 'row')} end to end in {each(passes.gradient_accumulation_steps)} a step; the largest pass has {tokens:,} tokens "
        f"and needs about {in_words(way.need_bytes - unpacked)} beside the weights; {in_words(budget)} are free."
    ]
    if plan.unpacked_layers:
        said.append(
            f"The 4-bit weights of {plan.unpacked_layers} of {sizes.layers} layers are kept unpacked as well, "
            f"{in_words(unpacked)}, because there is room: their products need not wait for them."
        )
    if plan.recomputed_layers:
        where = "in the host's memory" if plan.on_host else "on the card"
        said.append(
            f"{plan.recomputed_layers} of {sizes.layers} layers are computed again on the way back; only their inputs are kept, {where}."
        )
    return tuple(said)


def counted(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def each(passes: int) -> str:
    return "one pass" if passes == 1 else f"each of {passes} passes"


def in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(size / 1e6, 0.1):.1f} MB"


def free_bytes() -> int:
    """NIBBLE_TRAINER_MEMORY_GIB holds a run down to so much in all, weights included; CUDA's own memory, already taken, comes on top."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        held = torch.cuda.memory_allocated()
        unused = torch.cuda.memory_reserved() - held
        limit = float(os.environ.get("NIBBLE_TRAINER_MEMORY_GIB", 0)) * 2**30
        return min(free + unused, int((limit - held) / KEPT_FREE) if limit else sys.maxsize)
    return int(psutil.virtual_memory().available * OF_HOST / KEPT_FREE)


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def most_tokens(order: DataOrder, lengths: Places, *, rows: int, steps: int) -> int:
    places = order.largest_pass(lengths, rows_a_pass=rows, after_step=0, last_step=steps, is_padded=False)
    tokens = int(lengths[places].sum())
    return filled(tokens) if torch.cuda.is_available() else tokens  # captured passes are filled up


def thrift_of(plan: ExecutionPlan) -> Thrift:
    return Thrift(
        recomputed=plan.recomputed_layers,
        on_host=plan.on_host,
        feed_forward_tokens=plan.feed_forward_tokens or WHOLE,
        head_tokens=plan.head_tokens,
        unpacked=plan.unpacked_layers,
    )
