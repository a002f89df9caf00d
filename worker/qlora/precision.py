"""Which number types a run computes in, from what was asked and what the device has. No tensors: testable without one.

Measured with SmolLM2-135M under NF4 on 2 cores, 4 rows of 96 tokens, forward and backward: with AVX512-BF16 1.0 s in
bfloat16 and 2.8 s in float32; held down to AVX2, float32 stayed near 3 s and bfloat16 had not made its steps in 10 minutes.
"""

from dataclasses import dataclass

from worker.contract.quantization import BitsAndBytes4Bit, ComputeDtype, Quantization
from worker.contract.training import Training


@dataclass(frozen=True)
class Device:
    """What the run has to compute with."""

    name: str
    is_cuda: bool
    has_bfloat16: bool
    """In hardware. Emulated, it is slower than float32."""


@dataclass(frozen=True)
class Precision:
    dtype: ComputeDtype
    """Of the unquantised weights, and of the products with the quantised ones."""
    bf16: bool
    fp16: bool
    """Autocast of the rest; fp16 with loss scaling."""
    notices: tuple[str, ...] = ()


def choose_precision(quantization: Quantization, training: Training, *, device: Device, is_full: bool = False) -> Precision:
    """`is_full`: every weight is trained, so all are kept in float32, whatever type they compute in (docs/decisions)."""
    asked = quantization.bnb_4bit_compute_dtype if isinstance(quantization, BitsAndBytes4Bit) else quantization.dtype
    dtype, dtype_notice = choose_dtype(asked, device=device)
    bf16, fp16, mixed_notice = choose_mixed(training, dtype=dtype, device=device)
    notices = [notice for notice in (dtype_notice, mixed_notice) if notice]
    if is_full and dtype != "float32":
        notices.append(_in_float32("bfloat16" if bf16 else "float16" if fp16 else "float32", asked=asked))
        dtype = "float32"
    return Precision(dtype=dtype, bf16=bf16, fp16=fp16, notices=tuple(notices))


def _in_float32(computed: str, *, asked: ComputeDtype) -> str:
    """A bfloat16 keeps 8 bits: at usual learning rates most updates are smaller than its last one and would be rounded away."""
    return (
        "Every weight is kept in float32 while it trains, so that small updates count; "
        f"products are computed in {computed}, and the model is saved in {asked}."
    )


def choose_dtype(asked: ComputeDtype, *, device: Device) -> tuple[ComputeDtype, str]:
    if asked == "bfloat16" and not device.has_bfloat16:
        instead: ComputeDtype = "float16" if device.is_cuda else "float32"
        return instead, f"{device.name} has no bfloat16 arithmetic; {instead} is used instead of bfloat16."
    if asked == "float16" and not device.is_cuda:
        return "float32", "Training in float16 needs a GPU; on the CPU float32 is used instead."
    return asked, ""


def choose_mixed(training: Training, *, dtype: ComputeDtype, device: Device) -> tuple[bool, bool, str]:
    """bf16 and fp16. Left open: what the card has, and neither on a CPU or when float32 was asked for."""
    if training.bf16 and not device.has_bfloat16:
        other = "fp16" if device.is_cuda else "float32"
        return False, device.is_cuda, f"{device.name} has no bfloat16 arithmetic; {other} is used instead of bf16."
    if training.fp16 and not device.is_cuda:
        return False, False, "fp16 needs a GPU; on the CPU the adapter computes in float32."
    if training.bf16 or training.fp16:
        return bool(training.bf16), bool(training.fp16), ""
    wants_mixed = device.is_cuda and dtype != "float32"
    bf16 = wants_mixed and device.has_bfloat16 and training.bf16 is None and dtype != "float16"
    fp16 = wants_mixed and not bf16 and training.fp16 is None and dtype == "float16"
    return bf16, fp16, ""
