"""What transformers' own decoder layers and PEFT's adapters hold of one token: kept for the way back, and on it at its worst.

Counted tensor by tensor along transformers 5.17, peft 0.21 and bitsandbytes 0.50 under CUDA's autocast, where adapters are float32.
"""

from dataclasses import dataclass

from worker.contract.model_shape import ModelShape
from worker.contract.quantization import BitsAndBytes8Bit, Unquantized
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.stored import FLOAT, adapted_layers, head_dim, linear_layers, number_bytes

HEADS_NORMED = ("Qwen3ForCausalLM", "Gemma3ForCausalLM")
"""Queries and keys pass a norm of their own."""
FOUR_NORMS = ("Gemma2ForCausalLM", "Gemma3ForCausalLM")
FLOAT_NORMS = ("GPTNeoXForCausalLM",)
"""LayerNorm, which autocast runs in float32: so a 4-bit product after it is float32 as well, and with it the stream."""
OF_STREAM = {"q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value"}
OF_SECOND_NORM = {"gate_proj", "up_proj", "gate_up_proj", "dense_h_to_4h"}
OF_ATTENTION = {"o_proj", "dense"}
OF_PRODUCT = {"down_proj", "dense_4h_to_h"}


@dataclass(frozen=True)
class Layer:
    """Bytes a token. `back`: beside what is kept, at the worst moment in the layer. `held`: kept even where layers are recomputed."""

    stream: int
    kept: int
    back: int
    held: int = 0


@dataclass(frozen=True)
class Sizes:
    h: int
    f: int
    q: int
    k: int
    b: int
    is_gated: bool
    is_fused: bool
    """One product makes queries, keys and values; another one gate and up: their slices hold it whole."""


def sizes_of(spec: FinetuneSpec, shape: ModelShape) -> Sizes:
    names = {layer.name for layer in linear_layers(shape)}
    d = head_dim(shape)
    return Sizes(
        h=shape.hidden_size,
        f=shape.intermediate_size,
        q=shape.num_attention_heads * d,
        k=shape.num_key_value_heads * d,
        b=number_bytes(spec),
        is_gated=bool(names & {"gate_proj", "gate_up_proj"}),
        is_fused=bool(names & {"qkv_proj", "query_key_value"}),
    )


def layer_of(spec: FinetuneSpec, shape: ModelShape, *, is_masked: bool) -> Layer:
    """`is_masked`: rows of a pass are padded, so attention gets a mask, and keys and values are repeated for each query head."""
    sizes = sizes_of(spec, shape)
    kept = _norms(spec, shape, sizes) + _attention(sizes, shape, is_masked=is_masked) + _feed_forward(spec, shape, sizes)
    kept += _inputs(spec, shape, sizes) + _of_dora(spec, shape, sizes)
    stream = FLOAT if is_float_stream(spec, shape) else sizes.b
    outliers = _outliers(spec, sizes)
    held = sizes.b * (2 * sizes.h + sizes.q + sizes.f) + outliers if outliers else 0
    return Layer(stream=stream * sizes.h, kept=kept + outliers, back=_back(spec, shape, sizes), held=held)


def is_float_stream(spec: FinetuneSpec, shape: ModelShape) -> bool:
    """Also where products give float32: DoRA's on quantised layers; and where all weights, embeddings with them, are float32."""
    if number_bytes(spec) == FLOAT or spec.is_full:
        return True
    is_quantised = not isinstance(spec.quantization, Unquantized)
    return is_quantised and (shape.architecture in FLOAT_NORMS or spec.lora.use_dora)


def has_copies(spec: FinetuneSpec) -> bool:
    """PEFT gives each adapter on an unquantised layer its own copy of the input, by way of float32."""
    return isinstance(spec.quantization, Unquantized) and number_bytes(spec) == 2 and not spec.is_full


def _norms(spec: FinetuneSpec, shape: ModelShape, sizes: Sizes) -> int:
    """The input of each in float32: a copy. NeoX's two norms share it where it is float32 already. Trained ones keep their result."""
    is_shared = shape.architecture in FLOAT_NORMS and is_float_stream(spec, shape)
    count = 4 if shape.architecture in FOUR_NORMS else 1 if is_shared else 2
    heads = sizes.q + sizes.k if shape.architecture in HEADS_NORMED else 0
    return FLOAT * (count * sizes.h + heads) * (2 if spec.is_full else 1)


def _attention(sizes: Sizes, shape: ModelShape, *, is_masked: bool) -> int:
    """Queries, keys, values and the result; the logarithms of its sums."""
    k = sizes.q if is_masked else sizes.k
    is_sliced = sizes.is_fused and shape.architecture not in FLOAT_NORMS
    values = sizes.q + 2 * sizes.k if is_sliced else k
    return sizes.b * (2 * sizes.q + k + values) + FLOAT * shape.num_attention_heads


def _feed_forward(spec: FinetuneSpec, shape: ModelShape, sizes: Sizes) -> int:
    """Gate, up and the activated gate; without a gate the activation's input."""
    is_float = is_float_stream(spec, shape) and not spec.is_full
    return (FLOAT if is_float else sizes.b) * (3 if sizes.is_gated else 1) * sizes.f


def _inputs(spec: FinetuneSpec, shape: ModelShape, sizes: Sizes) -> int:
    """Of what is trained, and what the adapters make of them. On quantised layers those with the same input share it."""
    trained = linear_layers(shape) if spec.is_full else adapted_layers(spec, shape)
    layers = max(shape.num_hidden_layers, 1)
    every = sum(layer.inputs * layer.count for layer in trained) // layers
    names = {layer.name for layer in trained}
    kept = sizes.h * bool(names & OF_STREAM) + sizes.h * bool(names & OF_SECOND_NORM) + sizes.f * bool(names & OF_PRODUCT)
    is_cast_each = has_copies(spec) or (is_float_stream(spec, shape) and sizes.b == 2 and (spec.is_full or spec.lora.use_dora))
    dropped = every if not spec.is_full and spec.lora.lora_dropout > 0 and spec.objective.kind == "sft" else 0
    low = 0 if spec.is_full else spec.lora.r * sum(layer.count for layer in trained) // layers
    return sizes.b * ((every if is_cast_each else kept) + dropped + low) + dropped


def _outliers(spec: FinetuneSpec, sizes: Sizes) -> int:
    """bitsandbytes' 8-bit products hold their inputs out of checkpointing's reach; and the product's columns with a value of 6 or more.

    Counted as if all of them had one: so it was with random weights. Trained models have fewer, and take less.
    """
    return sizes.b * sizes.f if isinstance(spec.quantization, BitsAndBytes8Bit) and not spec.is_full else 0


def _of_dora(spec: FinetuneSpec, shape: ModelShape, sizes: Sizes) -> int:
    """The frozen layer's result and the adapter's, which the trained magnitudes scale."""
    if spec.is_full or not spec.lora.use_dora:
        return 0
    outputs = sum(layer.outputs * layer.count for layer in adapted_layers(spec, shape)) // max(shape.num_hidden_layers, 1)
    return outputs * (sizes.b + (FLOAT if is_float_stream(spec, shape) else sizes.b))


def _back(spec: FinetuneSpec, shape: ModelShape, sizes: Sizes) -> int:
    """In the feed-forward part, when the product is made or taken apart."""
    b, h, f = sizes.b, sizes.h, sizes.f
    if is_float_stream(spec, shape) and b == 2 and not spec.is_full:
        return FLOAT * h + 2 * FLOAT * f  # both branches' gradients in float32
    if has_copies(spec) and sizes.is_gated:
        return 5 * b * h + (b + FLOAT) * f  # the product and its float32 copy, as the layer is made again
    if sizes.is_fused and sizes.is_gated:
        return 4 * b * h + 2 * b * f  # the wide product, made again: the frozen layer's, the adapter's, and their sum
    return (FLOAT if spec.is_full else b) * h + 2 * b * f


def dora_bytes(spec: FinetuneSpec, shape: ModelShape) -> int:
    """The largest frozen matrix, the adapter's, their sum, and all in float32 for its columns' lengths; a unit matrix before."""
    if spec.is_full or not spec.lora.use_dora:
        return 0
    b = FLOAT if isinstance(spec.quantization, Unquantized) else number_bytes(spec)
    sizes = [(layer.inputs * layer.outputs, layer.inputs**2) for layer in adapted_layers(spec, shape)]
    return max(max((3 * b + FLOAT) * numbers, (b + FLOAT) * unit + b * numbers) for numbers, unit in sizes)
