"""What a pass takes the way TRL runs it: padded rows, transformers' own layers, autograd's copies. Bytes at its peak."""

from dataclasses import dataclass

from worker.contract.model_shape import ModelShape
from worker.contract.quantization import BitsAndBytes4Bit, Unquantized
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.stored import adapted_layers, head_dim, linear_layers, number_bytes

FLOAT = 4
HEAD_TILE = 32_768  # of the vocabulary: TRL's output head makes the logits of so many words at once


@dataclass(frozen=True)
class PlainPeak:
    activations: int
    logits: int
    unpacked: int


def plain_peak(spec: FinetuneSpec, shape: ModelShape, *, tokens: int, is_recomputed: bool) -> PlainPeak:
    layer = layer_bytes(spec, shape)
    b, h, layers = number_bytes(spec), shape.hidden_size, shape.num_hidden_layers
    back = b * (3 * h + 3 * shape.intermediate_size)
    kept = layer + back + b * h * layers if is_recomputed else layer * layers + back
    largest = max(layer_.inputs * layer_.outputs for layer_ in linear_layers(shape))
    unpacked = b * largest if isinstance(spec.quantization, BitsAndBytes4Bit) else 0
    return PlainPeak(tokens * kept, tokens * min(shape.vocab_size, HEAD_TILE) * FLOAT, unpacked)


def layer_bytes(spec: FinetuneSpec, shape: ModelShape) -> int:
    """Of one token in one layer, kept for the way back."""
    b, h, f = number_bytes(spec), shape.hidden_size, shape.intermediate_size
    q, k = shape.num_attention_heads * head_dim(shape), shape.num_key_value_heads * head_dim(shape)
    norms = 2 * FLOAT * h + 2 * b * h  # each norm's input in float32, and its output
    attention = b * (2 * q + 2 * k)
    gated = b * 4 * f
    return norms + attention + gated + _of_the_adapter(spec, shape)


def _of_the_adapter(spec: FinetuneSpec, shape: ModelShape) -> int:
    """x Aᵀ; and a copy of x for each adapter on unquantised layers, whose input PEFT casts."""
    if spec.is_full:
        return 0
    b, layers = number_bytes(spec), max(shape.num_hidden_layers, 1)
    adapted = adapted_layers(spec, shape)
    low = sum(b * spec.lora.r * layer.count for layer in adapted) // layers
    copies = b if isinstance(spec.quantization, Unquantized) and b == 2 else 0
    dropped = b + 1 if spec.lora.lora_dropout else 0
    return low + sum((copies + dropped) * layer.inputs * layer.count for layer in adapted) // layers
