"""Chooses how a packed run is executed: the fastest way that fits into the memory. Pure arithmetic.

Measured on an H100 with a 7B Llama in NF4, rank 16 on all linear layers (docs/log.md): a pass of n tokens takes n + 490 units of
time, whatever its rows (dequantisation and launches are paid once a pass), and 1.48 times that with every layer recomputed. So
passes are split before layers are recomputed, as long as a pass keeps well over 490 tokens.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from worker.contract.packed_peak import HEAD_TOKENS, DecoderSizes, kept_peak, peak_of
from worker.contract.plan import ExecutionPlan, PassPlan

__all__ = ["DecoderSizes", "Way", "choose_way", "need_bytes", "way_of", "with_unpacked"]
PASS_TOKENS = 490
RECOMPUTING = 0.48
SLICE_TOKENS = 2048
OF_REST = 0.5


@dataclass(frozen=True)
class Way:
    """A candidate: its memory above the weights, and its time in units."""

    plan: ExecutionPlan
    need_bytes: int
    time: float


def choose_way(
    asked: PassPlan,
    *,
    sizes: DecoderSizes,
    largest: Mapping[int, int],
    mean_row: float,
    budget_bytes: int,
    has_host: bool,
    keeps_unpacked: bool = True,
) -> Way:
    """`largest`: tokens of the run's largest pass for each number of rows a pass. `budget_bytes`: free beside weights and adapter.

    `has_host`: beside a card, where inputs can wait; on a CPU there is one memory, and it is not ours alone.
    When nothing fits, the way that needs least: the rehearsal will say how much is missing.
    """
    ways = list(_ways(asked, sizes=sizes, largest=largest, mean_row=mean_row, budget_bytes=budget_bytes, has_host=has_host))
    fitting = [way for way in ways if way.need_bytes <= budget_bytes]
    if not fitting:
        return min(ways, key=lambda way: way.need_bytes)
    fastest = min(fitting, key=lambda way: way.time)
    return with_unpacked(fastest, sizes=sizes, budget_bytes=budget_bytes) if has_host and keeps_unpacked else fastest


def with_unpacked(way: Way, *, sizes: DecoderSizes, budget_bytes: int) -> Way:
    """Keeps as many layers unpacked as half of what is left holds: it only saves time, and others may want of the card."""
    if not sizes.is_unpacked:
        return way
    layers = min(sizes.layers, int(OF_REST * max(budget_bytes - way.need_bytes, 0)) // sizes.unpacked_layer)
    plan = way.plan.model_copy(update={"unpacked_layers": layers})
    return replace(way, plan=plan, need_bytes=way.need_bytes + layers * sizes.unpacked_layer)


def _ways(
    asked: PassPlan,
    *,
    sizes: DecoderSizes,
    largest: Mapping[int, int],
    mean_row: float,
    budget_bytes: int,
    has_host: bool,
) -> Iterator[Way]:
    """For each number of rows the way that recomputes least of those that fit, and the thrifty ones."""
    effective, every = asked.effective_batch, sizes.layers
    for rows in sorted(largest, reverse=True):
        passes = PassPlan(
            per_device_train_batch_size=rows, gradient_accumulation_steps=effective // rows, activation_checkpointing=False
        )

        def way(
            recomputed: int, *, passes: PassPlan = passes, rows: int = rows, is_sliced: bool = False, on_host: bool = False
        ) -> Way:
            return way_of(
                passes,
                sizes=sizes,
                tokens=largest[rows],
                mean_row=mean_row,
                recomputed=recomputed,
                is_sliced=is_sliced,
                on_host=on_host,
            )

        yield way(fewest_recomputed(sizes=sizes, tokens=largest[rows], budget_bytes=budget_bytes))
        yield way(every, is_sliced=True)
        if has_host:
            yield way(every, is_sliced=True, on_host=True)


def fewest_recomputed(*, sizes: DecoderSizes, tokens: int, budget_bytes: int) -> int:
    """Layers to recompute so that those that are kept fit: the more are recomputed, the less the kept ones take."""
    return bisect_left(
        range(sizes.layers), True, key=lambda layers: kept_peak(layers, sizes=sizes, tokens=tokens).total <= budget_bytes
    )


def way_of(
    passes: PassPlan,
    *,
    sizes: DecoderSizes,
    tokens: int,
    mean_row: float,
    recomputed: int,
    is_sliced: bool = False,
    on_host: bool = False,
) -> Way:
    rows = passes.per_device_train_batch_size
    plan = ExecutionPlan(
        kind="packed",
        passes=passes.model_copy(update={"activation_checkpointing": recomputed > 0}),
        recomputed_layers=recomputed,
        on_host=on_host,
        feed_forward_tokens=SLICE_TOKENS if is_sliced else None,
        head_tokens=HEAD_TOKENS[is_sliced],
    )
    share = recomputed / sizes.layers
    slower = 1 + RECOMPUTING * share + (0.06 if is_sliced else 0) + (0.04 if on_host else 0)
    time = passes.gradient_accumulation_steps * (rows * mean_row + PASS_TOKENS) * slower
    return Way(plan, need_bytes(plan, sizes=sizes, tokens=tokens), time)


def need_bytes(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> int:
    """Beside weights, adapter, gradients and optimizer: what a pass of so many tokens takes at its peak."""
    return peak_of(plan, sizes=sizes, tokens=tokens).total
