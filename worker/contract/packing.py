"""Chooses how a packed run is executed: the fastest way that fits into the memory. Pure arithmetic.

Measured on an H100 with a 7B Llama in NF4, rank 16 on all linear layers (docs/log.md): a pass of n tokens takes n + 490 units of
time, whatever its rows (dequantisation and launches are paid once a pass), and 1.48 times that with every layer recomputed. So
passes are split before layers are recomputed, as long as a pass keeps well over 490 tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.contract.plan import ExecutionPlan, PassPlan

PASS_TOKENS = 490
RECOMPUTING = 0.48
HEAD_TOKENS = (1024, 256)
SLICE_TOKENS = 2048


@dataclass(frozen=True)
class DecoderSizes:
    """Of the base model, and bytes of one number in the compute type."""

    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    number_bytes: int

    @property
    def kept_by_layer(self) -> int:
        """Bytes a token: the stream before and in the middle, both norms, q k v, attention's result, gate and up, their product."""
        return self.number_bytes * (4 * self.hidden + 2 * self.queries + 2 * self.keys + 3 * self.inner)

    @property
    def kept_of_recomputed(self) -> int:
        return self.number_bytes * self.hidden

    @property
    def on_the_way_back(self) -> int:
        """Bytes a token: gradients that live beside a layer's activations."""
        return self.number_bytes * (3 * self.hidden + self.queries + 2 * self.keys + self.inner)

    @property
    def unpacked(self) -> int:
        """Bytes of the largest frozen product in the compute type: gate and up."""
        return self.number_bytes * 2 * self.inner * self.hidden


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
) -> Way:
    """`largest`: tokens of the run's largest pass for each number of rows a pass. `budget_bytes`: free beside weights and adapter.

    When nothing fits, the way that needs least: the rehearsal will say how much is missing.
    """
    ways = list(_ways(asked, sizes=sizes, largest=largest, mean_row=mean_row, has_host=has_host))
    fitting = [way for way in ways if way.need_bytes <= budget_bytes]
    return min(fitting, key=lambda way: way.time) if fitting else min(ways, key=lambda way: way.need_bytes)


def _ways(asked: PassPlan, *, sizes: DecoderSizes, largest: Mapping[int, int], mean_row: float, has_host: bool) -> Iterator[Way]:
    effective = asked.effective_batch
    for rows in sorted(largest, reverse=True):
        passes = PassPlan(
            per_device_train_batch_size=rows, gradient_accumulation_steps=effective // rows, activation_checkpointing=False
        )
        for recomputed in range(sizes.layers + 1):
            yield way_of(passes, sizes=sizes, tokens=largest[rows], mean_row=mean_row, recomputed=recomputed)
        yield way_of(passes, sizes=sizes, tokens=largest[rows], mean_row=mean_row, recomputed=sizes.layers, is_sliced=True)
        if has_host:
            yield way_of(
                passes, sizes=sizes, tokens=largest[rows], mean_row=mean_row, recomputed=sizes.layers, is_sliced=True, on_host=True
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
    whole = (sizes.layers - plan.recomputed_layers) * tokens * sizes.kept_by_layer
    inputs = (
        plan.recomputed_layers * tokens * sizes.kept_of_recomputed if not plan.on_host else 3 * tokens * sizes.kept_of_recomputed
    )
    again = _layer_again(plan, sizes=sizes, tokens=tokens) if plan.recomputed_layers else tokens * sizes.on_the_way_back
    head = min(tokens, plan.head_tokens) * sizes.vocabulary * sizes.number_bytes + 2 * tokens * sizes.hidden * sizes.number_bytes
    return whole + inputs + max(again + sizes.unpacked, head)


def _layer_again(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> int:
    """A recomputed layer on its way back; sliced, its feed-forward half holds a slice of the tokens at a time."""
    if plan.feed_forward_tokens is None or plan.feed_forward_tokens >= tokens:
        return tokens * (sizes.kept_by_layer + sizes.on_the_way_back)
    attention = sizes.number_bytes * (5 * sizes.hidden + 2 * sizes.queries + 2 * sizes.keys)
    slice_ = sizes.number_bytes * (2 * sizes.hidden + 4 * sizes.inner)
    return tokens * attention + plan.feed_forward_tokens * slice_
