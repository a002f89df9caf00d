"""What kind of run it is, in a few words: the tags of head and list, and the words of the comparison. Pure."""

from typing import Any

from webapp.jobs.stored_spec import read_spec
from worker.contract.objective import NAMES
from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit
from worker.contract.spec import FinetuneSpec

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def compute_type(spec: FinetuneSpec) -> str:
    quantization = spec.quantization
    dtype = quantization.bnb_4bit_compute_dtype if isinstance(quantization, BitsAndBytes4Bit) else quantization.dtype
    return DTYPES[dtype]


def method_tag(spec: FinetuneSpec) -> str:
    """QLoRA · DoRA · r=16"""
    if spec.is_full:
        return spec.method
    kinds = [name for name, on in (("DoRA", spec.lora.use_dora), ("rsLoRA", spec.lora.use_rslora)) if on]
    return " · ".join([spec.method, *kinds, f"r={spec.lora.r}"])


def tags_of(spec: FinetuneSpec) -> list[str]:
    gpus = spec.plan.num_processes
    several = [f"{gpus} GPUs{', split' if spec.plan.fsdp else ''}"] if gpus > 1 else []
    return [method_tag(spec), NAMES[spec.objective.kind], compute_type(spec), *several]


def stored_tags(stored: dict[str, Any]) -> tuple[str, str]:
    """(method, objective) of a stored spec for a list; empty when it cannot be read."""
    spec = read_spec(stored)
    return (method_tag(spec), NAMES[spec.objective.kind]) if spec else ("", "")


def precision_words(spec: FinetuneSpec) -> str:
    """How the base model is kept: `4 bits (NF4, double quantisation), computed in bf16`."""
    kept, computed = spec.quantization, compute_type(spec)
    if isinstance(kept, BitsAndBytes4Bit):
        double = ", double quantisation" if kept.bnb_4bit_use_double_quant else ""
        return f"4 bits ({kept.bnb_4bit_quant_type.upper()}{double}), computed in {computed}"
    if isinstance(kept, BitsAndBytes8Bit):
        return f"8 bits (LLM.int8, outliers above {kept.llm_int8_threshold:g}), computed in {computed}"
    return f"{'32' if kept.dtype == 'float32' else '16'} bits ({computed}), not quantised"
