"""A model's shape from its config.json alone: every weight counted by arithmetic, family by family.

The counts are those of transformers' own models (tests make each family on the meta device and compare).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.contract.model_shape import LinearLayer, ModelShape

TYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "float64": 8}


class UnknownShape(ValueError):
    """A config.json whose family is not counted here, or that is not whole. The sentence is for the user."""


@dataclass(frozen=True)
class Counted:
    """Of one decoder layer: its linear layers (inputs, outputs), and all other weights of it (norms, biases, routers, experts)."""

    linear: dict[str, tuple[int, int]]
    other: int


@dataclass(frozen=True)
class Sizes:
    """The numbers that all families have, with their defaults filled in."""

    hidden: int
    layers: int
    heads: int
    keys: int
    head_dim: int
    inner: int
    vocabulary: int
    given: Mapping[str, Any]

    @property
    def q(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        return self.keys * self.head_dim

    def has(self, name: str, *, default: bool = False) -> bool:
        found = self.given.get(name)
        return default if found is None else bool(found)


@dataclass(frozen=True)
class Family:
    """`is_tied`: where config.json says nothing. `final_norms`: weights of the last norm, in hidden sizes."""

    architecture: str
    layer: Callable[[Sizes], Counted]
    is_tied: bool = False
    keys: int | None = None
    head_dim: int | None = None
    final_norms: int = 1


def shape_of(config: Mapping[str, Any], *, has_chat_template: bool = True, weights_bytes: int | None = None) -> ModelShape:
    """`weights_bytes`: of the files, where they are at hand; otherwise what the parameters take in config.json's own type."""
    text = text_part(config)
    family = family_of(text)
    sizes = _sizes(text, family)
    counted = family.layer(sizes)
    is_tied = _is_tied(config, text, family)
    embeddings = sizes.vocabulary * sizes.hidden * (1 if is_tied else 2)
    linear = sum(inputs * outputs for inputs, outputs in counted.linear.values())
    parameters = embeddings + family.final_norms * sizes.hidden + sizes.layers * (linear + counted.other)
    return ModelShape(
        architecture=family.architecture,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.keys,
        intermediate_size=sizes.inner,
        vocab_size=sizes.vocabulary,
        max_position_embeddings=_number(text, "max_position_embeddings", default=2048),
        parameters=parameters,
        weights_bytes=weights_bytes or parameters * TYPE_BYTES.get(_type(config, text), 2),
        has_chat_template=has_chat_template,
        linear_layers=tuple(
            LinearLayer(name=name, inputs=inputs, outputs=outputs, count=sizes.layers)
            for name, (inputs, outputs) in counted.linear.items()
        ),
        head_dim=sizes.head_dim,
        is_tied=is_tied,
        linear_modules=tuple(counted.linear),
    )


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Models that also see or hear keep the language model's numbers one level down."""
    inner = config.get("text_config") or config.get("llm_config")
    return inner if isinstance(inner, dict) and "hidden_size" in inner else config


def family_of(config: Mapping[str, Any]) -> Family:
    kind = str(config.get("model_type", ""))
    if (family := FAMILIES.get(kind)) is None:
        raise UnknownShape(
            f"Models of the type {kind or '(none given)'} are not counted from config.json; known: {', '.join(FAMILIES)}."
        )
    return family


def _sizes(config: Mapping[str, Any], family: Family) -> Sizes:
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    return Sizes(
        hidden=hidden,
        layers=_number(config, "num_hidden_layers"),
        heads=heads,
        keys=_number(config, "num_key_value_heads", default=family.keys or heads),
        head_dim=_number(config, "head_dim", default=family.head_dim or hidden // heads),
        inner=_number(config, "intermediate_size"),
        vocabulary=_number(config, "vocab_size"),
        given=config,
    )


def _number(config: Mapping[str, Any], name: str, *, default: int | None = None) -> int:
    found = config.get(name)
    if isinstance(found, int) and not isinstance(found, bool) and found > 0:
        return found
    if default is None:
        raise UnknownShape(f"config.json gives no {name}.")
    return default


def _is_tied(config: Mapping[str, Any], text: Mapping[str, Any], family: Family) -> bool:
    said = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return family.is_tied if said is None else bool(said)


def _type(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    said = next((part[name] for part in (text, config) for name in ("dtype", "torch_dtype") if part.get(name)), "bfloat16")
    return str(said).removeprefix("torch.")


def _attention(sizes: Sizes) -> dict[str, tuple[int, int]]:
    h, q, kv = sizes.hidden, sizes.q, sizes.kv
    return {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h)}


def _gated(sizes: Sizes) -> dict[str, tuple[int, int]]:
    h, f = sizes.hidden, sizes.inner
    return {"gate_proj": (h, f), "up_proj": (h, f), "down_proj": (f, h)}


def _biases(layers: Mapping[str, tuple[int, int]]) -> int:
    return sum(outputs for _, outputs in layers.values())


def _llama(sizes: Sizes) -> Counted:
    attention, gated = _attention(sizes), _gated(sizes)
    biases = _biases(attention) * sizes.has("attention_bias") + _biases(gated) * sizes.has("mlp_bias")
    return Counted(attention | gated, 2 * sizes.hidden + biases)


def _mistral(sizes: Sizes) -> Counted:
    return Counted(_attention(sizes) | _gated(sizes), 2 * sizes.hidden)


def _qwen2(sizes: Sizes) -> Counted:
    return Counted(_attention(sizes) | _gated(sizes), 2 * sizes.hidden + sizes.q + 2 * sizes.kv)


def _qwen3(sizes: Sizes) -> Counted:
    attention = _attention(sizes)
    norms = 2 * sizes.hidden + 2 * sizes.head_dim
    return Counted(attention | _gated(sizes), norms + _biases(attention) * sizes.has("attention_bias"))


def _gemma(sizes: Sizes) -> Counted:
    attention = _attention(sizes)
    return Counted(attention | _gated(sizes), 2 * sizes.hidden + _biases(attention) * sizes.has("attention_bias"))


def _gemma2(sizes: Sizes) -> Counted:
    attention = _attention(sizes)
    return Counted(attention | _gated(sizes), 4 * sizes.hidden + _biases(attention) * sizes.has("attention_bias"))


def _gemma3(sizes: Sizes) -> Counted:
    counted = _gemma2(sizes)
    return Counted(counted.linear, counted.other + 2 * sizes.head_dim)


def _phi3(sizes: Sizes) -> Counted:
    h, f = sizes.hidden, sizes.inner
    linear = {"o_proj": (sizes.q, h), "qkv_proj": (h, sizes.q + 2 * sizes.kv), "gate_up_proj": (h, 2 * f), "down_proj": (f, h)}
    return Counted(linear, 2 * h)


def _gpt_neox(sizes: Sizes) -> Counted:
    h, f = sizes.hidden, sizes.inner
    attention = {"query_key_value": (h, 3 * h), "dense": (h, h)}
    inner = {"dense_h_to_4h": (h, f), "dense_4h_to_h": (f, h)}
    biases = _biases(inner) + _biases(attention) * sizes.has("attention_bias", default=True)
    return Counted(attention | inner, 4 * h + biases)


def _mixtral(sizes: Sizes) -> Counted:
    """The experts are no linear layers to transformers 5 but stacked matrices, which neither quantisation nor LoRA takes hold of."""
    experts = _number(sizes.given, "num_local_experts", default=8)
    return Counted(_attention(sizes), 2 * sizes.hidden + experts * (sizes.hidden + 3 * sizes.hidden * sizes.inner))


FAMILIES: dict[str, Family] = {
    "llama": Family("LlamaForCausalLM", _llama),
    "mistral": Family("MistralForCausalLM", _mistral, keys=8),
    "qwen2": Family("Qwen2ForCausalLM", _qwen2, keys=32),
    "qwen3": Family("Qwen3ForCausalLM", _qwen3, keys=32, head_dim=128),
    "gemma": Family("GemmaForCausalLM", _gemma, is_tied=True, keys=16, head_dim=256),
    "gemma2": Family("Gemma2ForCausalLM", _gemma2, is_tied=True, keys=4, head_dim=256),
    "gemma3_text": Family("Gemma3ForCausalLM", _gemma3, is_tied=True, keys=4, head_dim=256),
    "phi3": Family("Phi3ForCausalLM", _phi3),
    "gpt_neox": Family("GPTNeoXForCausalLM", _gpt_neox, final_norms=2),
    "mixtral": Family("MixtralForCausalLM", _mixtral, keys=8),
}
