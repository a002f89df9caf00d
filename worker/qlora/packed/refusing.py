"""Whether a run can go packed: decoders that are laid out like Llama's, with plain LoRA. All others go TRL's way, and are told why."""

from typing import Any

import torch

from worker.contract.objective import NAMES
from worker.contract.quantization import BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec
from worker.qlora.precision import Precision

OBJECTIVES = ("sft", "dpo", "orpo", "reward")
ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
HANDLED = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def why_not_packed(config: Any, *, spec: FinetuneSpec, precision: Precision) -> str:
    """Empty when it can. `config` is the base model's; asked before its weights are loaded."""
    name = next(iter(config.architectures or ()), "a model without a name")
    if spec.plan.execution == "plain":
        return "plain execution was asked for"
    if spec.objective.kind not in OBJECTIVES:
        return f"its own passes are not made for {NAMES[spec.objective.kind]}"
    if spec.plan.fsdp:
        return "the base model is split over several GPUs"
    if name not in ARCHITECTURES:
        return f"{name} is not one of {', '.join(ARCHITECTURES)}"
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"its activation is {config.hidden_act}"
    if (window := _window(config)) is not None and window < spec.training.max_length:
        return f"its attention sees {window:,} tokens back, fewer than the max length"
    if spec.is_full:
        return "every weight is trained, not an adapter beside them"
    if isinstance(spec.quantization, BitsAndBytes8Bit):
        return "the base model is in 8 bits"
    if spec.lora.use_dora:
        return "DoRA needs the length of each weight column anew in every pass"
    targets = () if isinstance(spec.lora.target_modules, str) else spec.lora.target_modules
    if others := sorted({target.rsplit(".", 1)[-1] for target in targets} - HANDLED):
        return f"adapters are asked for on {', '.join(others)}"
    if spec.lora.bias != "none":
        return "biases are trained"
    if precision.fp16:
        return "fp16 needs loss scaling"
    if precision.dtype == "float32" and torch.cuda.is_available():
        return "flash attention on a GPU has no float32"
    return ""


def _window(config: Any) -> int | None:
    """transformers keeps the number even where a Qwen model does not use it."""
    window = getattr(config, "sliding_window", None)
    return None if window is None or not getattr(config, "use_sliding_window", True) else int(window)
