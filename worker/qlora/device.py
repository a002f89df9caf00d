"""The device that this process trains on: the first visible GPU, else the CPU."""

import torch

from worker.qlora.precision import Device


def find_device() -> Device:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(torch.cuda.current_device())
        return Device(name=name, is_cuda=True, has_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False))
    threads = torch.get_num_threads()
    return Device(name=f"CPU ({threads} threads)", is_cuda=False, has_bfloat16=cpu_has_bfloat16())


def cpu_has_bfloat16() -> bool:
    """AVX512-BF16 or AMX on x86, BF16 on Arm."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16")):
        return True
    older = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in older if ask is not None)
