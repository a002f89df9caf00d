"""What one packed pass holds at its peak beside weights, adapter and optimizer: counted along worker/qlora/packed, kernel by kernel.

The peak is the largest of a few moments: the output head, the way back through a layer that was kept, and through one that is
computed again. Their parts add up to it.
"""

from dataclasses import dataclass, replace

from worker.contract.plan import ExecutionPlan, PassPlan

FLOAT = 4
HEAD_TOKENS = (1024, 256)  # whose logits exist at once; of a thrifty plan


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
    heads: int = 0
    ranks: int = 0
    """Of all adapted layers of one decoder layer, added up: x Aᵀ is kept for each."""
    is_unpacked: bool = True
    """The frozen weights are unpacked for each product (4 bits); others are used where they lie."""
    has_dropout: bool = False

    @property
    def kept_by_layer(self) -> int:
        """Bytes a token: the stream before and in the middle, both norms, q k v, attention's result, gate and up, their product."""
        numbers = 4 * self.hidden + 2 * self.queries + 2 * self.keys + 3 * self.inner + self.ranks
        return self.number_bytes * numbers + FLOAT * (self.heads + 2)

    @property
    def kept_of_recomputed(self) -> int:
        return self.number_bytes * self.hidden

    @property
    def unpacked_layer(self) -> int:
        """Bytes of one layer's frozen weights in the compute type: q, k and v, o, gate, up and down."""
        return self.number_bytes * self.hidden * (2 * self.queries + 2 * self.keys + 3 * self.inner)


@dataclass(frozen=True)
class Peak:
    """Bytes at the moment that holds most."""

    activations: int
    logits: int = 0
    unpacked: int = 0

    @property
    def total(self) -> int:
        return self.activations + self.logits + self.unpacked


def peak_of(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> Peak:
    kept = plan.unpacked_layers * sizes.unpacked_layer
    if plan.unpacked_layers == sizes.layers:
        sizes = replace(sizes, is_unpacked=False)
    moments = [_head(plan, sizes=sizes, tokens=tokens)]
    if plan.recomputed_layers < sizes.layers:
        moments.append(_back_through_kept(plan, sizes=sizes, tokens=tokens))
    if plan.recomputed_layers:
        moments += _back_through_recomputed(plan, sizes=sizes, tokens=tokens)
    most = max(moments, key=lambda peak: peak.total)
    return replace(most, unpacked=most.unpacked + kept)


def kept_peak(recomputed: int, *, sizes: DecoderSizes, tokens: int) -> Peak:
    """Of the output head and the layers that are not recomputed."""
    passes = PassPlan.model_construct(
        per_device_train_batch_size=1, gradient_accumulation_steps=1, activation_checkpointing=recomputed > 0
    )
    plan = ExecutionPlan.model_construct(
        kind="packed",
        passes=passes,
        recomputed_layers=recomputed,
        on_host=False,
        feed_forward_tokens=None,
        head_tokens=HEAD_TOKENS[0],
    )
    moments = (_head(plan, sizes=sizes, tokens=tokens), _back_through_kept(plan, sizes=sizes, tokens=tokens))
    return max(moments, key=lambda peak: peak.total)


def _inputs(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int, on_card: int) -> int:
    """Of the recomputed layers. On the host: `on_card` of them are on their way."""
    return min(plan.recomputed_layers, on_card if plan.on_host else plan.recomputed_layers) * tokens * sizes.kept_of_recomputed


def _kept(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> int:
    return (sizes.layers - plan.recomputed_layers) * tokens * sizes.kept_by_layer


def _positions(sizes: DecoderSizes, tokens: int) -> int:
    """Ids, labels, positions, losses; cosines and sines of the rotary embedding, twice while they are made."""
    d = sizes.queries // sizes.heads if sizes.heads else 128
    return tokens * (3 * 8 + 2 * FLOAT + 2 * d * sizes.number_bytes)


def _head(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> Peak:
    """The last norm's input and output, the gradient of its output, and the logits of some tokens."""
    stream = 3 * tokens * sizes.hidden * sizes.number_bytes
    logits = min(tokens, plan.head_tokens) * sizes.vocabulary * sizes.number_bytes
    inputs = _inputs(plan, sizes=sizes, tokens=tokens, on_card=0)
    return Peak(_kept(plan, sizes=sizes, tokens=tokens) + inputs + stream + _positions(sizes, tokens), logits=logits)


def _back_through_kept(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> Peak:
    """The last layer, all of whose activations are there: down's input gradient, or gate and up's."""
    under = (
        _kept(plan, sizes=sizes, tokens=tokens)
        + _inputs(plan, sizes=sizes, tokens=tokens, on_card=0)
        + tokens * sizes.hidden * sizes.number_bytes
    )
    return _larger_product(under + _positions(sizes, tokens), sizes=sizes, tokens=tokens)


def _back_through_recomputed(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> list[Peak]:
    """Inputs, the layer's first half made again, its gradient; of the second half only a slice, whose weights stay unpacked."""
    part = min(tokens, plan.feed_forward_tokens or tokens)
    h, q, k = sizes.hidden, sizes.queries, sizes.keys
    half = tokens * (sizes.number_bytes * (3 * h + 2 * q + 2 * k + sizes.ranks // 2) + FLOAT * (sizes.heads + 2))
    slice_ = part * sizes.number_bytes * (h + 3 * sizes.inner + sizes.ranks // 2)
    under = _inputs(plan, sizes=sizes, tokens=tokens, on_card=2) + half + slice_ + _positions(sizes, tokens)
    feed_forward = _larger_product(under, sizes=sizes, tokens=part, is_held=part < tokens)
    return [feed_forward, _attention_back(plan, sizes=sizes, tokens=tokens)]


def _larger_product(under: int, *, sizes: DecoderSizes, tokens: int, is_held: bool = False) -> Peak:
    """Down: its input's gradient beside all; then gate and up, when the product of both is gone."""
    h, f, b = sizes.hidden, sizes.inner, sizes.number_bytes
    cast = b * sizes.ranks * (h + f) // 3  # the group's adapter in the compute type
    dense = b * h * f if sizes.is_unpacked else 0
    held = 3 * dense if is_held else 0
    down = Peak(under + tokens * f * b + cast, unpacked=held or dense)
    dropped = Peak(under + 3 * tokens * f * b + cast, unpacked=held) if sizes.has_dropout else down
    both = Peak(under + tokens * (h - f) * b + cast, unpacked=held or 2 * dense)
    return max((down, dropped, both), key=lambda peak: peak.total)


def _attention_back(plan: ExecutionPlan, *, sizes: DecoderSizes, tokens: int) -> Peak:
    """Flash attention's gradients: of q in float32 as well, of k and v for each query head where they are shared."""
    h, q, k, b = sizes.hidden, sizes.queries, sizes.keys, sizes.number_bytes
    shared = 2 * q if k < q else 0
    numbers = 2 * h + (q + 2 * k) + q + h + q + (q + 2 * k) + shared
    inputs = _inputs(plan, sizes=sizes, tokens=tokens, on_card=2)
    return Peak(inputs + tokens * (b * numbers + FLOAT * (q + 2 * sizes.heads)) + _positions(sizes, tokens))
