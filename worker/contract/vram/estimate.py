"""The estimate: what lies on the card through the whole run, and what a pass adds at its peak, under one plan.

Checked against a grid of runs on an H100 (bench/results/vram_grid.json; tests/worker/contract/test_vram_grid.py).
"""

from math import ceil, sqrt

from worker.contract.filling import filled
from worker.contract.model_shape import ModelShape
from worker.contract.objective import sequences_of
from worker.contract.packed_peak import peak_of
from worker.contract.packing import choose_way
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.execution import ELEMENTWISE, decoder_sizes, goes_packed
from worker.contract.vram.parts import MemoryParts, RowLengths
from worker.contract.vram.plain import Run, StepPeak, mask_bytes, plain_peak
from worker.contract.vram.stored import Trained, linear_bytes, other_bytes, states_of, trained_of

CONTEXT_BYTES = 768 * 2**20  # CUDA itself and the kernels' code: 767 MiB beside what torch reserves, in all plain runs of the grid
GRAPHS_BYTES = 56 * 2**20  # captured graphs and Triton's kernels: 823 MiB in all packed ones
WORKSPACE_BYTES = 64 * 2**20  # cuBLAS's, 32 MiB on an H100 for the thread of the way there and for that of the way back
KEPT_FREE = 0.92  # of what is free: fragments of the allocator and the graphs of shorter passes
SPREAD = 4.0  # standard deviations between the mean pass and the largest one


def memory_parts(
    spec: FinetuneSpec,
    shape: ModelShape,
    *,
    rows: RowLengths | None = None,
    plan: ExecutionPlan | None = None,
    card_bytes: int | None = None,
    pass_tokens: int | None = None,
) -> MemoryParts:
    """Of one GPU. `rows`: of the data, when they are known. `pass_tokens`: of the run's largest pass, when the trainer knows it.

    `plan`: how it is executed; without one the fastest that fits into `card_bytes`; without either as the spec asks.
    """
    lengths = rows_of(spec, rows)
    plan = plan or plan_for(spec, shape, rows=lengths, card_bytes=card_bytes)
    is_packed = plan.kind == "packed"
    trained = trained_of(spec, shape, is_one=is_packed and spec.optimizer.optim in ELEMENTWISE)
    tokens = pass_tokens or most_tokens(plan, rows=lengths)
    if is_packed:
        packed = peak_of(plan, sizes=decoder_sizes(spec, shape), tokens=filled(tokens))
        gradients = trained.bytes_each * trained.numbers  # one tensor, there from the beginning
        peak = StepPeak(packed.activations, packed.logits, packed.unpacked, gradients)
    else:
        peak = plain_peak(_run(spec, shape, trained=trained, plan=plan, tokens=tokens, rows=rows, longest=lengths.longest))
    return _added_up(spec, shape, trained=trained, peak=peak, is_packed=is_packed)


def _run(
    spec: FinetuneSpec,
    shape: ModelShape,
    *,
    trained: Trained,
    plan: ExecutionPlan,
    tokens: int,
    rows: RowLengths | None,
    longest: int,
) -> Run:
    """Rows of one length are padded nowhere; where nobody has counted, they are of many lengths."""
    passes = plan.passes
    is_padded = passes.per_device_train_batch_size > 1 and (rows is None or rows.mean < longest) and not _is_binned(spec)
    return Run(
        spec=spec,
        shape=shape,
        trained=trained,
        tokens=tokens,
        passes=passes.gradient_accumulation_steps,
        is_recomputed=passes.activation_checkpointing,
        mask=mask_bytes(spec, tokens=tokens, longest=longest, is_padded=is_padded),
    )


def _is_binned(spec: FinetuneSpec) -> bool:
    return spec.objective.kind == "sft" and spec.objective.packing


def _added_up(spec: FinetuneSpec, shape: ModelShape, *, trained: Trained, peak: StepPeak, is_packed: bool) -> MemoryParts:
    states = states_of(spec, trained)
    share = spec.plan.num_processes if spec.plan.fsdp else 1
    linear, other = linear_bytes(spec, shape), other_bytes(spec, shape)
    fetched = 2 * linear // shape.num_hidden_layers if share > 1 else 0  # a layer, and the next one on its way
    parts = {
        "linear_weights": linear // share,
        "other_weights": other + (other // share if share > 1 else 0),  # whole from the first pass on, and the part of it
        "adapter": 0 if spec.is_full else trained.bytes_each * trained.numbers,
        "gradients": peak.gradients,
        "optimizer_states": states.on_card,
        "activations": peak.activations,
        "logits": peak.logits,
        "dequantised_layer": peak.unpacked + fetched,
        "workspaces": WORKSPACE_BYTES,
    }
    return MemoryParts(
        **parts,
        paged_states=states.paged,
        slack=int((1 / KEPT_FREE - 1) * (sum(parts.values()) - parts["linear_weights"] - parts["other_weights"])),
        cuda_context=CONTEXT_BYTES + (GRAPHS_BYTES if is_packed else 0),
    )


def rows_of(spec: FinetuneSpec, rows: RowLengths | None) -> RowLengths:
    """Where nobody has counted, every row is as long as it may be."""
    most = spec.training.max_length * sequences_of(spec.objective.kind)
    if rows is None:
        return RowLengths(most, float(most))
    return RowLengths(min(rows.longest, most), min(rows.mean, most))


def most_tokens(plan: ExecutionPlan, *, rows: RowLengths) -> int:
    """Of the run's largest pass: padded to the longest row, or end to end."""
    count = plan.passes.per_device_train_batch_size
    return count * rows.longest if plan.kind == "plain" else tokens_end_to_end(count, rows=rows)


def tokens_end_to_end(count: int, *, rows: RowLengths) -> int:
    """No more than all of the longest; where the mean is far below it, so many of them never meet in one pass."""
    deviation = min(sqrt(max(rows.longest - rows.mean, 0) * rows.mean), rows.mean)
    likely = count * rows.mean + SPREAD * sqrt(count) * deviation
    return ceil(min(count * rows.longest, max(likely, rows.longest)))


def plan_for(spec: FinetuneSpec, shape: ModelShape, *, rows: RowLengths, card_bytes: int | None) -> ExecutionPlan:
    asked = PassPlan.as_asked(spec.training, num_processes=spec.plan.num_processes)
    if not goes_packed(spec, shape):
        return ExecutionPlan(kind="plain", passes=asked)
    sizes = decoder_sizes(spec, shape)
    if card_bytes is None:
        recomputed = sizes.layers if asked.activation_checkpointing else 0
        return ExecutionPlan(kind="packed", passes=asked, recomputed_layers=recomputed)
    effective = asked.effective_batch
    largest = {n: filled(tokens_end_to_end(n, rows=rows)) for n in range(1, effective + 1) if effective % n == 0}
    weights = linear_bytes(spec, shape) + other_bytes(spec, shape)
    budget = pass_budget(spec, shape, free_bytes=card_bytes - CONTEXT_BYTES - weights)
    return choose_way(
        asked,
        sizes=sizes,
        largest=largest,
        mean_row=rows.mean,
        budget_bytes=budget,
        has_host=True,
        keeps_unpacked=spec.plan.keep_unpacked,
    ).plan


def pass_budget(spec: FinetuneSpec, shape: ModelShape, *, free_bytes: int) -> int:
    """What a pass of a packed run may take, of what is free once the base model lies on the card."""
    return int(free_bytes * KEPT_FREE) - bytes_of_the_trained(spec, shape) - WORKSPACE_BYTES


def bytes_of_the_trained(spec: FinetuneSpec, shape: ModelShape) -> int:
    """Of a packed run: adapter, gradients, and the optimizer states that do not give way."""
    trained = trained_of(spec, shape, is_one=spec.optimizer.optim in ELEMENTWISE)
    return 2 * trained.bytes_each * trained.numbers + states_of(spec, trained).on_card
