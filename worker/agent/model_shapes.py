"""From a model's files to its shape: the names that architectures use for the same number, and its linear layers."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from worker.agent.model_files import ModelFiles, ModelProblem, Tensor
from worker.contract.model_shape import LinearLayer, ModelShape
from worker.contract.shapes import UnknownShape
from worker.contract.shapes import shape_of as counted_shape

NAMES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "vocab_size": ("vocab_size",),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length", "model_max_length"),
}
HEAD_OR_EMBEDDING = ("embed", "lm_head", "wte", "wpe", "score", "position")


def shape_of(files: ModelFiles) -> ModelShape:
    config = _text_part(files.config)
    _refuse_quantised(files.config)
    numbers = {field: _number(config, field, names) for field, names in NAMES.items()}
    heads, hidden = numbers["num_attention_heads"], numbers["hidden_size"]
    architectures = files.config.get("architectures") or [files.config.get("model_type", "")]
    try:
        return ModelShape(
            architecture=str(architectures[0]),
            **numbers,
            num_key_value_heads=int(config.get("num_key_value_heads") or heads),
            intermediate_size=int(config.get("intermediate_size") or config.get("n_inner") or config.get("ffn_dim") or 4 * hidden),
            parameters=sum(math.prod(tensor.shape) for tensor in files.tensors.values()),
            weights_bytes=sum(tensor.size_bytes for tensor in files.tensors.values()),
            has_chat_template=files.has_chat_template,
            **_layers(files),
        )
    except (ValidationError, TypeError, ValueError) as error:
        raise ModelProblem(f"The model's config.json does not describe a language model: {str(error).splitlines()[0]}") from None


def _layers(files: ModelFiles) -> dict[str, Any]:
    """As transformers makes the model, where its family is known (it may stack what the files keep apart); else from the files."""
    try:
        counted = counted_shape(files.config)
    except UnknownShape:
        is_tied = not any(name.split(".")[-2:-1] == ["lm_head"] for name in files.tensors)
        return {
            "linear_modules": linear_modules(files.tensors),
            "linear_layers": linear_layers(files.tensors),
            "is_tied": is_tied,
        }
    names = tuple(name for name in linear_modules(files.tensors) if name in counted.linear_modules)
    return {"linear_modules": names} | {name: getattr(counted, name) for name in ("linear_layers", "head_dim", "is_tied")}


def linear_layers(tensors: Mapping[str, Tensor]) -> tuple[LinearLayer, ...]:
    """Those of one name and size, counted. safetensors keeps a weight as (outputs, inputs)."""
    names = set(linear_modules(tensors))
    found = Counter(
        (name.split(".")[-2], tensor.shape[1], tensor.shape[0])
        for name, tensor in tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and name.split(".")[-2] in names
    )
    return tuple(LinearLayer(name=name, inputs=ins, outputs=outs, count=count) for (name, ins, outs), count in found.items())


def linear_modules(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Last part of the names of two-dimensional weights, in the order of the file, without embeddings and output head."""
    found: dict[str, None] = {}
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        module = stem.rpartition(".")[2]
        if last == "weight" and len(tensor.shape) == 2 and not any(part in module for part in HEAD_OR_EMBEDDING):
            found[module] = None
    return tuple(found)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Models that also see or hear keep the language model's numbers one level down."""
    inner = config.get("text_config") or config.get("llm_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def _number(config: Mapping[str, Any], field: str, names: tuple[str, ...]) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise ModelProblem(f"The model's config.json gives no {field}, so it is no language model that transformers can load.")


def _refuse_quantised(config: Mapping[str, Any]) -> None:
    """Quantising twice loses quality twice, and packed weights cannot be counted."""
    quantised = config.get("quantization_config")
    if isinstance(quantised, dict):
        method = quantised.get("quant_method", "an unknown method")
        raise ModelProblem(
            f"The model is quantised already ({method}). Give the original in 16 or 32 bits; Nibble quantises it itself."
        )
