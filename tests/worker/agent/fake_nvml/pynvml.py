"""NVIDIA's management library as a machine with GPUs has it: what it tells stands in the JSON file that FAKE_GPUS names.

A list of {"uuid", "used", "total"}; no file: the driver does not answer.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    pass


def _gpus() -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(Path(os.environ["FAKE_GPUS"]).read_text())
    except FileNotFoundError:
        raise NVMLError("Driver Not Loaded") from None
    return found


def nvmlInit() -> None:
    _gpus()


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(_gpus())


def nvmlDeviceGetHandleByIndex(index: int) -> dict[str, Any]:
    gpu = _gpus()[index]
    if gpu.get("is_lost"):
        raise NVMLError("GPU is lost")
    return gpu


def nvmlDeviceGetMemoryInfo(handle: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(total=handle["total"], used=handle["used"])


def nvmlDeviceGetUtilizationRates(handle: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(gpu=0)


def nvmlDeviceGetUUID(handle: dict[str, Any]) -> str:
    return str(handle["uuid"])


def nvmlDeviceGetName(handle: dict[str, Any]) -> bytes:
    return b"NVIDIA H100"


def nvmlDeviceGetCudaComputeCapability(handle: dict[str, Any]) -> list[int]:
    return [9, 0]
