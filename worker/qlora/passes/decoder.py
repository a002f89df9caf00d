"""A decoder of the Llama family (Llama, Mistral, Qwen 2) run on rows laid end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from worker.qlora.passes.attention import Heads, PackedAttention, Rows
from worker.qlora.passes.flat_adapter import FlatAdapter
from worker.qlora.passes.loss import HeadLoss
from worker.qlora.passes.product import FrozenGroup, LoraProduct

GROUPS = (("self_attn", ("q_proj", "k_proj", "v_proj")), ("self_attn", ("o_proj",)), ("mlp", ("gate_proj", "up_proj")), ("mlp", ("down_proj",)))


@dataclass(frozen=True)
class Pass:
    """Rows end to end, padded with one untrained row. ids, labels, positions (tokens,), ends (rows + 1,) int32, scale (1,)."""

    ids: Tensor
    labels: Tensor
    positions: Tensor
    ends: Tensor
    scale: Tensor
    longest: int


class Decoder:
    """Reads the weights of a PEFT model in place; knows nothing of trainers."""

    def __init__(self, model: Any, *, adapter: str = "default", dtype: torch.dtype, checkpointed: int = 0) -> None:
        self._causal = model.get_base_model()
        self._inner = self._causal.model
        self._checkpointed = checkpointed
        layers = list(self._inner.layers)
        found = [[[getattr(getattr(layer, part), name) for name in names] for part, names in GROUPS] for layer in layers]
        self.adapter = FlatAdapter([group for layer in found for group in layer], adapter=adapter, dtype=dtype)
        self._dropout = float(getattr(found[0][0][0].lora_dropout[adapter], "p", 0.0))
        self._layers = [
            Layer(layer, [FrozenGroup(group, adapter=self.adapter, dtype=dtype) for group in groups], dropout=self._dropout)
            for layer, groups in zip(layers, found, strict=True)
        ]
        self._dtype = dtype

    def loss(self, given: Pass) -> Tensor:
        x = self._inner.embed_tokens(given.ids).to(self._dtype)
        cos, sin = self._inner.rotary_emb(x[None], given.positions[None])
        rows = Rows(given.ends, given.longest, cos[0], sin[0])
        # A new leaf each time: a leaf remembers the stream of its first use, which a capture may not wait for.
        anchor = torch.zeros((), device=x.device, dtype=self._dtype, requires_grad=True)
        for number, layer in enumerate(self._layers):
            if number < self._checkpointed:
                x = checkpoint(layer, x, anchor, rows, use_reentrant=False, preserve_rng_state=self._dropout > 0)
            else:
                x = layer(x, anchor, rows)
        x = norm(x, self._inner.norm)
        found: Tensor = HeadLoss.apply(x, self._causal.lm_head.weight, given.labels, given.scale)
        return found


class Layer:
    def __init__(self, layer: Any, groups: Sequence[FrozenGroup], *, dropout: float) -> None:
        self._norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self._qkv, self._o, self._gate_up, self._down = groups
        attention = layer.self_attn
        d = int(attention.head_dim)
        self._heads = Heads(self._qkv.outs[0] // d, self._qkv.outs[1] // d, d, float(attention.scaling))
        self._dropout = dropout

    def __call__(self, x: Tensor, anchor: Tensor, rows: Rows) -> Tensor:
        packed = self._product(norm(x, self._norms[0]), anchor, self._qkv)
        x = self._product(PackedAttention.apply(packed, rows, self._heads), anchor, self._o, onto=x)
        both = self._product(norm(x, self._norms[1]), anchor, self._gate_up)
        return self._product(gated(both), anchor, self._down, onto=x)

    def _product(self, x: Tensor, anchor: Tensor, group: FrozenGroup, *, onto: Tensor | None = None) -> Tensor:
        read = torch.nn.functional.dropout(x, self._dropout) if self._dropout else x
        found: Tensor = LoraProduct.apply(x, read, onto, anchor, group)
        return found


def norm(x: Tensor, module: Any) -> Tensor:
    if x.is_cuda:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction

        found: Tensor = LigerRMSNormFunction.apply(x, module.weight, module.variance_epsilon, 0.0, "llama", False)
        return found
    found = module(x)
    return found


def gated(both: Tensor) -> Tensor:
    """silu(gate) × up of (tokens, 2 f)."""
    if both.is_cuda:
        from liger_kernel.ops.swiglu import LigerFusedGateUpSiLUMulFunction

        found: Tensor = LigerFusedGateUpSiLUMulFunction.apply(both, True)
        return found
    gate, up = both.chunk(2, 1)
    return torch.nn.functional.silu(gate) * up
