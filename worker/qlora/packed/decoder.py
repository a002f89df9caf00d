"""A decoder of the Llama family (Llama, Mistral, Qwen 2) run on rows laid end to end, without padding between them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from worker.qlora.packed.attention import Heads, PackedAttention, Rows
from worker.qlora.packed.dropping import Drop
from worker.qlora.packed.flat_adapter import FlatAdapter, is_adapted
from worker.qlora.packed.log_probabilities import HeadLogProbabilities
from worker.qlora.packed.loss import HeadLoss
from worker.qlora.packed.noise import Noise
from worker.qlora.packed.product import FrozenGroup, LoraProduct
from worker.qlora.packed.recomputing import HostShelf, RecomputedLayer
from worker.rows.tokens import IGNORED

GROUPS = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)
WHOLE = 1 << 30


@dataclass(frozen=True)
class Pass:
    """Rows end to end; what fills the pass up is a row of its own that nothing is learned from.

    ids, labels (of the next token; −100: not trained), positions: (tokens,) int64. ends: (rows + 1,) int32, as Rows.ends.
    scale: (1,) float32, one over the trained tokens of the effective batch. seed: (1,) int64 of this pass's dropout.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    ends: Tensor
    scale: Tensor
    seed: Tensor
    longest: int

    @property
    def tokens(self) -> int:
        return int(self.ids.shape[0])

    def filled_to(self, tokens: int, *, rows: int) -> Self:
        """With rows of filling at its end, none longer than the longest; `rows` of all kinds, the last ones empty."""
        more, device = tokens - self.tokens, self.ids.device
        begun = torch.arange(1, rows + 2 - len(self.ends), device=device, dtype=self.ends.dtype)
        return replace(
            self,
            ids=pad(self.ids, (0, more)),
            labels=pad(self.labels, (0, more), value=IGNORED),
            positions=torch.cat([self.positions, torch.arange(more, device=device) % self.longest]),
            ends=torch.cat([self.ends, (self.tokens + begun * self.longest).clamp(max=tokens)]),
        )


@dataclass(frozen=True)
class Thrift:
    """How memory is saved: the first `recomputed` layers keep only their input, on the host if `on_host`.

    `feed_forward_tokens`: how many of its tokens a recomputed layer takes back at once. `head_tokens`: the same for the logits.
    `unpacked`: of so many layers, from the first on, the 4-bit weights are kept in the compute type as well.
    """

    recomputed: int = 0
    on_host: bool = False
    feed_forward_tokens: int = WHOLE
    head_tokens: int = 1024
    unpacked: int = 0


class Decoder:
    """Reads the weights of a PEFT model in place; knows nothing of trainers."""

    def __init__(
        self, model: Any, *, dtype: torch.dtype, thrift: Thrift, adapter: str = "default", noise_alpha: float | None = None
    ) -> None:
        self._noise_alpha = noise_alpha
        self._causal = model.get_base_model()
        self._inner = self._causal.model
        self._dtype, self._thrift = dtype, thrift
        layers = list(self._inner.layers)
        found = [[getattr(getattr(layer, part), name) for name in names] for layer in layers for part, names in GROUPS]
        self.score = _score_head(self._causal, adapter)
        self.adapter = FlatAdapter(found, adapter=adapter, others=[] if self.score is None else [self.score])
        groups = [
            FrozenGroup(group, lora=lora, dtype=dtype, is_kept_dense=n < len(GROUPS) * thrift.unpacked)
            for n, (group, lora) in enumerate(zip(found, self.adapter.groups, strict=True))
        ]
        adapted = next(layer for group in found for layer in group if is_adapted(layer))
        self._dropout = float(getattr(adapted.lora_dropout[adapter], "p", 0.0))
        self._layers = [Layer(layer, groups[4 * n : 4 * n + 4]) for n, layer in enumerate(layers)]
        self._shelf = HostShelf(torch.cuda.Stream()) if thrift.on_host else None

    def loss(self, given: Pass, *, is_training: bool = True) -> Tensor:
        """Σ of the trained tokens' losses × scale. Its backward adds to the adapter's gradients."""
        hidden = self.hidden(given, is_training=is_training)
        found: Tensor = HeadLoss.apply(hidden, self.head, given.labels, given.scale, self._thrift.head_tokens)
        return found

    def log_probabilities(self, given: Pass, *, is_training: bool = True, is_adapted: bool = True) -> Tensor:
        """Of each trained token, (tokens,) float32; 0 of the others. Not adapted: the base model's own, without a way back."""
        hidden = self.hidden(given, is_training=is_training, is_adapted=is_adapted)
        found: Tensor = HeadLogProbabilities.apply(hidden, self.head, given.labels, self._thrift.head_tokens)
        return found

    @property
    def layer_weights(self) -> int:
        """Frozen ones of one layer."""
        return sum(lora.ins * sum(lora.outs) for lora in self.adapter.groups[: len(GROUPS)])

    @property
    def head(self) -> Tensor:
        weight: Tensor = self._causal.lm_head.weight
        return weight

    def hidden(self, given: Pass, *, is_training: bool, is_adapted: bool = True) -> Tensor:
        """(tokens, h), after the last norm."""
        x = self._inner.embed_tokens(given.ids).to(self._dtype)
        if is_training and self._noise_alpha is not None:
            x = Noise(self._noise_alpha, given.seed)(x, given.ends)
        cos, sin = self._inner.rotary_emb(x[None], given.positions[None])
        rows = Rows(given.ends, given.longest, cos[0], sin[0])
        dropout = self._dropout if is_training else 0.0
        # A new leaf each time: a leaf remembers the stream of its first use, which a capture may not wait for.
        anchor = torch.zeros((), device=x.device, dtype=self._dtype, requires_grad=is_training)
        for number, layer in enumerate(self._layers):
            bound = BoundLayer(layer, rows, dropout, given.seed, number, is_adapted)
            if is_training and number < self._thrift.recomputed:
                chunk = self._thrift.feed_forward_tokens
                x = RecomputedLayer.apply(x, anchor, bound, number, self._shelf, chunk)
            else:
                x = bound.feed_forward(bound.attend(x, anchor), anchor)
        if self._shelf is not None:
            self._shelf.settle_all()
        return norm(x, self._inner.norm)


def _score_head(causal: Any, adapter: str) -> Tensor | None:
    """(1, h): of a reward model, trained beside the adapter."""
    if not hasattr(causal, "score"):
        return None
    weight: Tensor = causal.score.modules_to_save[adapter].weight
    return weight


class Layer:
    """One decoder layer's weights."""

    def __init__(self, layer: Any, groups: Sequence[FrozenGroup]) -> None:
        self.norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self.qkv, self.o, self.gate_up, self.down = groups
        d = int(layer.self_attn.head_dim)
        outs = self.qkv.lora.outs
        self.heads = Heads(outs[0] // d, outs[1] // d, d, float(layer.self_attn.scaling))


@dataclass(frozen=True)
class BoundLayer:
    """A layer in one pass."""

    layer: Layer
    rows: Rows
    dropout: float
    seed: Tensor
    number: int
    is_adapted: bool = True

    def attend(self, x: Tensor, anchor: Tensor) -> Tensor:
        packed = self._product(norm(x, self.layer.norms[0]), None, anchor, self.layer.qkv, 0)
        return self._product(PackedAttention.apply(packed, self.rows, self.layer.heads), x, anchor, self.layer.o, 1)

    def feed_forward(self, x: Tensor, anchor: Tensor, *, begin: int = 0, is_read: bool = True) -> Tensor:
        both = self._product(norm(x, self.layer.norms[1]), None, anchor, self.layer.gate_up, 2, begin)
        return self._product(gated(both), x, anchor, self.layer.down, 3, begin, is_read=is_read)

    @contextmanager
    def feed_forward_held(self) -> Iterator[None]:
        with self.layer.gate_up.held(), self.layer.down.held():
            yield

    def _product(
        self,
        x: Tensor,
        onto: Tensor | None,
        anchor: Tensor,
        group: FrozenGroup,
        place: int,
        begin: int = 0,
        *,
        is_read: bool = True,
    ) -> Tensor:
        if not self.is_adapted:
            return group.product(x, onto)
        drop = Drop(self.dropout, self.seed, 4 * self.number + place, begin) if self.dropout else None
        found: Tensor = LoraProduct.apply(x, onto, anchor, group, drop, is_read)
        return found


def norm(x: Tensor, module: Any) -> Tensor:
    if x.is_cuda:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction

        found: Tensor = LigerRMSNormFunction.apply(x, module.weight, module.variance_epsilon, 0.0, "llama", False)
        return found
    return module(x)  # type: ignore[no-any-return]


def gated(both: Tensor) -> Tensor:
    """silu(gate) × up of (tokens, 2 f)."""
    if both.is_cuda:
        from liger_kernel.ops.swiglu import LigerFusedGateUpSiLUMulFunction

        found: Tensor = LigerFusedGateUpSiLUMulFunction.apply(both, True)
        return found
    gate, up = both.chunk(2, 1)
    return torch.nn.functional.silu(gate) * up
