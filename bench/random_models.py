"""Llama-shaped models of random weights, made layer by layer on the device: one that is quantised never exists in 16 bits."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
    "65b": {"hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 80, "num_attention_heads": 64},
}
VOCABULARY = 49_152


def random_llama(shape: str, *, nf4: bool, device: str, layers: int | None = None, vocabulary: int = VOCABULARY) -> Any:
    """A LlamaForCausalLM in bf16 (float32 on a CPU), its linear layers in NF4 with double quantisation if asked."""
    sizes = {**SHAPES[shape], **({"num_hidden_layers": layers} if layers else {})}
    config = LlamaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        **sizes,
    )
    config.architectures = ["LlamaForCausalLM"]  # what the trainer decides by before it loads a model
    config._attn_implementation = "sdpa"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    torch.manual_seed(0)
    fill(model, make=lambda weight: torch.empty(weight.shape, dtype=dtype, device=device).normal_(0, 0.02), nf4=nf4)
    model.model.rotary_emb = LlamaRotaryEmbedding(config).to(device)
    model.requires_grad_(False)
    model.is_loaded_in_4bit = nf4
    model.config.use_cache = False
    return model


def fill(model: Any, *, make: Callable[[torch.Tensor], torch.Tensor], nf4: bool) -> None:
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, torch.nn.Linear) and name != "lm_head" and nf4:
                setattr(parent, name, quantised(module, make(module.weight)))
            elif "Norm" in type(module).__name__:
                module.weight = torch.nn.Parameter(torch.ones_like(make(module.weight)))
            elif getattr(module, "weight", None) is not None:
                module.weight = torch.nn.Parameter(make(module.weight))


def quantised(module: torch.nn.Linear, weight: torch.Tensor) -> Any:
    from bitsandbytes.nn import Linear4bit, Params4bit

    made = Linear4bit(
        module.in_features,
        module.out_features,
        bias=False,
        compute_dtype=weight.dtype,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    packed = Params4bit(weight, requires_grad=False, compress_statistics=True, quant_type="nf4", module=made)
    made.weight = packed._quantize(weight.device)
    return made
