"""Which way a run will take, told from spec and shape alone; the trainer asks the loaded model (worker/qlora/packed/refusing.py)."""

from worker.contract.model_shape import ModelShape
from worker.contract.optimizer import Optim
from worker.contract.packed_peak import DecoderSizes
from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec
from worker.contract.vram.stored import adapted_layers, head_dim, number_bytes

OBJECTIVES = ("sft", "dpo", "orpo", "reward")
PACKED = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
HANDLED = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
ELEMENTWISE: tuple[Optim, ...] = (
    "adamw_torch",
    "adamw_torch_fused",
    "paged_adamw_32bit",
    "lion_32bit",
    "paged_lion_32bit",
    "ademamix",
    "paged_ademamix_32bit",
    "rmsprop",
    "rmsprop_bnb_32bit",
    "adagrad",
)
"""Optimizers that treat each number by itself: a packed run gives them all adapter weights as one tensor, 1 launch instead of 448."""


def goes_packed(spec: FinetuneSpec, shape: ModelShape) -> bool:
    return (
        spec.plan.execution == "auto"
        and spec.objective.kind in OBJECTIVES
        and not spec.is_full
        and not spec.plan.fsdp
        and not isinstance(spec.quantization, BitsAndBytes8Bit)
        and not spec.lora.use_dora
        and spec.lora.bias == "none"
        and number_bytes(spec) == 2  # flash attention's own types
        and shape.architecture in PACKED
        and {layer.name for layer in adapted_layers(spec, shape)} <= HANDLED
    )


def decoder_sizes(spec: FinetuneSpec, shape: ModelShape) -> DecoderSizes:
    d, layers = head_dim(shape), shape.num_hidden_layers
    return DecoderSizes(
        layers=layers,
        hidden=shape.hidden_size,
        queries=shape.num_attention_heads * d,
        keys=shape.num_key_value_heads * d,
        inner=shape.intermediate_size,
        vocabulary=0 if spec.objective.kind == "reward" else shape.vocab_size,
        number_bytes=number_bytes(spec),
        heads=shape.num_attention_heads,
        ranks=spec.lora.r * sum(layer.count for layer in adapted_layers(spec, shape)) // layers,
        is_unpacked=isinstance(spec.quantization, BitsAndBytes4Bit),
        has_dropout=spec.lora.lora_dropout > 0 and spec.objective.kind == "sft",
    )
