"""The frozen base model in 4 bits: the contract's fields as transformers' BitsAndBytesConfig."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig

from worker.contract.quantization import BitsAndBytes4Bit, Quantization
from worker.qlora.precision import Precision


def quantization_config(quantization: Quantization, *, precision: Precision) -> BitsAndBytesConfig | None:
    """None for LoRA, where the base model stays as it is."""
    if not isinstance(quantization, BitsAndBytes4Bit):
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=quantization.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, precision.dtype),
    )


def describe(quantization: Quantization, *, precision: Precision) -> str:
    if not isinstance(quantization, BitsAndBytes4Bit):
        return f"unquantised, in {precision.dtype}"
    double = " with double quantisation" if quantization.bnb_4bit_use_double_quant else ""
    return f"4-bit {quantization.bnb_4bit_quant_type.upper()}{double}, computing in {precision.dtype}"


def keep_trainable_on_cpu(model: Any) -> None:
    """Stops bitsandbytes 0.50 from packing the weights for AVX512-BF16 at the first evaluation: that form has no gradients.

    Training would go on after it without an error and learn less (tested: an evaluation in between changes nothing).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
