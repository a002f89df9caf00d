"""How the frozen base model is stored: the contract's fields as transformers' BitsAndBytesConfig."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig

from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit, Quantization
from worker.qlora.precision import Precision


def quantization_config(quantization: Quantization, *, precision: Precision) -> BitsAndBytesConfig | None:
    """None for an unquantised base model, which stays as it is."""
    if isinstance(quantization, BitsAndBytes4Bit):
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization.bnb_4bit_quant_type,
            bnb_4bit_use_double_quant=quantization.bnb_4bit_use_double_quant,
            bnb_4bit_compute_dtype=getattr(torch, precision.dtype),
        )
    if isinstance(quantization, BitsAndBytes8Bit):
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=quantization.llm_int8_threshold)
    return None


def describe(quantization: Quantization, *, precision: Precision) -> str:
    if isinstance(quantization, BitsAndBytes4Bit):
        double = " with double quantisation" if quantization.bnb_4bit_use_double_quant else ""
        return f"4-bit {quantization.bnb_4bit_quant_type.upper()}{double}, computing in {precision.dtype}"
    if isinstance(quantization, BitsAndBytes8Bit):
        return f"8-bit, inputs above {quantization.llm_int8_threshold:g} in 16 bits, the rest of the model in {precision.dtype}"
    return f"unquantised, in {precision.dtype}"


def keep_trainable_on_cpu(model: Any) -> None:
    """Stops bitsandbytes 0.50 from packing the weights for AVX512-BF16 at the first evaluation: that form has no gradients.

    Training would go on after it without an error and learn less (tested: an evaluation in between changes nothing).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
