"""Number types: what was asked where the device has it, the nearest it has and a notice where not. Needs no tensors."""

from typing import Any

import pytest

from worker.contract.quantization import BitsAndBytes4Bit, Unquantized
from worker.contract.training import Training
from worker.qlora.precision import Device, choose_precision

AMPERE = Device(name="NVIDIA A100", is_cuda=True, has_bfloat16=True)
TURING = Device(name="Tesla T4", is_cuda=True, has_bfloat16=False)
NEW_CPU = Device(name="CPU", is_cuda=False, has_bfloat16=True)
OLD_CPU = Device(name="CPU", is_cuda=False, has_bfloat16=False)


@pytest.mark.parametrize(
    ("device", "asked", "mixed", "expected", "notices"),
    [
        (AMPERE, "bfloat16", {}, ("bfloat16", True, False), 0),
        (AMPERE, "float16", {}, ("float16", False, True), 0),
        (AMPERE, "float32", {}, ("float32", False, False), 0),
        (AMPERE, "bfloat16", {"bf16": False}, ("bfloat16", False, False), 0),
        (AMPERE, "bfloat16", {"fp16": True}, ("bfloat16", False, True), 0),
        (TURING, "bfloat16", {}, ("float16", False, True), 1),
        (TURING, "bfloat16", {"bf16": True}, ("float16", False, True), 2),
        (TURING, "float32", {}, ("float32", False, False), 0),
        (NEW_CPU, "bfloat16", {}, ("bfloat16", False, False), 0),
        (NEW_CPU, "bfloat16", {"bf16": True}, ("bfloat16", True, False), 0),
        (NEW_CPU, "float16", {}, ("float32", False, False), 1),
        (NEW_CPU, "bfloat16", {"fp16": True}, ("bfloat16", False, False), 1),
        (OLD_CPU, "bfloat16", {}, ("float32", False, False), 1),
        (OLD_CPU, "bfloat16", {"bf16": True}, ("float32", False, False), 2),
    ],
)
@pytest.mark.parametrize("is_quantized", [True, False])
def test_what_runs(
    device: Device, asked: Any, mixed: dict[str, bool], expected: tuple[str, bool, bool], notices: int, is_quantized: bool
) -> None:
    quantization = BitsAndBytes4Bit(bnb_4bit_compute_dtype=asked) if is_quantized else Unquantized(dtype=asked)
    chosen = choose_precision(quantization, Training(max_steps=1, **mixed), device=device)
    assert (chosen.dtype, chosen.bf16, chosen.fp16) == expected
    assert len(chosen.notices) == notices


@pytest.mark.parametrize(
    ("device", "asked", "expected"),
    [
        (AMPERE, "bfloat16", ("float32", True, False)),
        (AMPERE, "float32", ("float32", False, False)),
        (TURING, "bfloat16", ("float32", False, True)),
        (NEW_CPU, "bfloat16", ("float32", False, False)),
    ],
)
def test_full_fine_tuning_keeps_float32_weights(device: Device, asked: Any, expected: tuple[str, bool, bool]) -> None:
    """Products are computed in the type that was asked for, by autocast; on a CPU only if it was asked for as well."""
    chosen = choose_precision(Unquantized(dtype=asked), Training(max_steps=1), device=device, is_full=True)
    assert (chosen.dtype, chosen.bf16, chosen.fp16) == expected
    assert any("kept in float32" in notice for notice in chosen.notices) == (asked != "float32")
