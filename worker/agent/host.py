"""What this machine has, now: processors, memory, disk, GPUs, and the versions that training will use."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import psutil

from worker.contract.orders import GpuReport, HostReport

TOLD = ("torch", "transformers", "trl", "peft", "bitsandbytes", "celery")


def host_report(data: Path) -> HostReport:
    memory = psutil.virtual_memory()
    return HostReport(
        cpu_count=os.cpu_count() or 1,
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.total - memory.available,
        disk_free_bytes=shutil.disk_usage(data).free,
        gpus=gpu_reports(),
    )


def versions() -> dict[str, str]:
    """Read from the packages' metadata: importing torch for its number would take seconds and 300 MB."""
    found = {"python": platform.python_version()}
    for package in TOLD:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def gpu_reports() -> tuple[GpuReport, ...]:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves; none without a driver."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = [_gpu_report(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: list[GpuReport], allowed: str | None) -> tuple[GpuReport, ...]:
    """CUDA's rule: names or numbers, in the order given; an empty text hides every GPU."""
    if allowed is None:
        return tuple(gpus)
    wanted = [part.strip() for part in allowed.split(",") if part.strip()]
    found = [gpu for want in wanted for gpu in gpus if want == str(gpu.index) or gpu.uuid.startswith(want)]
    return tuple(dict.fromkeys(found))


def _gpu_report(nvml: ModuleType, index: int) -> GpuReport:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        utilisation = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError:  # some cards and MIG slices do not tell
        utilisation = None
    return GpuReport(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilisation_percent=utilisation,
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def free_memory_bytes(gpu_uuid: str | None) -> int:
    """Of the slot's GPU, or of the host for a slot without one."""
    for gpu in gpu_reports() if gpu_uuid else ():
        if gpu.uuid == gpu_uuid:
            return gpu.memory_total_bytes - gpu.memory_used_bytes
    return int(psutil.virtual_memory().available)
