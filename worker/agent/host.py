"""What this machine has, now: processors, memory, disk, GPUs, and the versions that training will use."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import psutil

from worker.contract.orders import GpuReport, HostReport, KeptFiles

TOLD = ("torch", "transformers", "trl", "peft", "bitsandbytes", "celery")


def host_report(data: Path, *, gpus: tuple[GpuReport, ...] | None = None, kept: tuple[KeptFiles, ...] = ()) -> HostReport:
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(data)
    return HostReport(
        cpu_count=os.cpu_count() or 1,
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.total - memory.available,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        gpus=gpu_reports() if gpus is None else gpus,
        kept=kept,
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
    nvml = _nvml()
    return visible(_reports(nvml), os.environ.get("CUDA_VISIBLE_DEVICES")) if nvml else ()


def compute_capability() -> str:
    """Of the oldest GPU here, like "9.0"; empty without one. The driver's library tells it without a CUDA context."""
    nvml = _nvml()
    if nvml is None:
        return ""
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        oldest = min((tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)) for handle in handles), default=())
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return ""
    return ".".join(map(str, oldest))


def is_gone(gpu_uuid: str) -> bool:
    """A GPU that a slot worked with and that the driver does not know any more, or that took the driver with it."""
    nvml = _nvml()
    return nvml is not None and all(gpu.uuid != gpu_uuid for gpu in _reports(nvml))


def _nvml() -> ModuleType | None:
    """The one place that knows NVIDIA's library; tests put one of their own on the path."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml  # type: ignore[no-any-return]  # pynvml has no types


def _reports(nvml: ModuleType) -> list[GpuReport]:
    """A GPU that does not answer is left out."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        found = [_gpu_report(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        return [gpu for gpu in found if gpu is not None]
    except nvml.NVMLError:
        return []
    finally:
        nvml.nvmlShutdown()


def visible(gpus: list[GpuReport], allowed: str | None) -> tuple[GpuReport, ...]:
    """CUDA's rule: names or numbers, in the order given; an empty text hides every GPU."""
    if allowed is None:
        return tuple(gpus)
    wanted = [part.strip() for part in allowed.split(",") if part.strip()]
    found = [gpu for want in wanted for gpu in gpus if want == str(gpu.index) or gpu.uuid.startswith(want)]
    return tuple(dict.fromkeys(found))


def _gpu_report(nvml: ModuleType, index: int) -> GpuReport | None:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return None
    try:
        utilisation = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError:  # some cards and MIG slices do not tell
        utilisation = None
    return GpuReport(
        index=index,
        uuid=uuid,
        name=name,
        memory_total_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilisation_percent=utilisation,
    )


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def gpu_of(gpu_uuid: str | None) -> GpuReport | None:
    return next((gpu for gpu in gpu_reports() if gpu.uuid == gpu_uuid), None) if gpu_uuid else None


def free_memory_bytes(gpu: GpuReport | None) -> int:
    """Of the slot's GPU, or of the host for a slot without one."""
    if gpu is not None:
        return gpu.memory_total_bytes - gpu.memory_used_bytes
    return int(psutil.virtual_memory().available)
