"""Imports everything that a run imports, at idle priority, without touching CUDA and without leaving a thread behind."""

import ctypes
import gc
import importlib
import importlib.util
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

IDLE_NICENESS = 19
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
IDLE_DISK = 3 << 13  # the class "idle" of ioprio_set(2)
# What a run imports after worker.qlora.recipe, seen in sys.modules; a model of another kind costs it a tenth of a second.
LATER = (
    "peft.tuners.lora.bnb",
    "peft.utils.transformers_weight_conversion",
    "torch.profiler._cupti_monitor",
    "transformers.integrations.bitsandbytes",
    "transformers.models.llama.modeling_llama",
    "transformers.models.mistral.modeling_mistral",
    "transformers.models.qwen2.modeling_qwen2",
    "worker.qlora.packed.kernels",
    "liger_kernel.ops.rms_norm",
    "liger_kernel.ops.swiglu",
)


def import_idly(capability: str) -> None:
    """`capability` is that of the machine's GPU, like "9.0"; empty without one.

    In a thread, since niceness belongs to a thread and cannot be taken back: the one that forks runs keeps its own.
    """
    failed: list[BaseException] = []

    def work() -> None:
        give_way()
        try:
            with without_cuda(capability):
                import_all()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    gc.collect()
    gc.freeze()  # the collector would write into pages that forks share


def give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), IDLE_NICENESS)
    if number := IOPRIO_SET.get(platform.machine()):
        ctypes.CDLL(None).syscall(number, 1, 0, IDLE_DISK)


def import_all() -> None:
    from worker.qlora.quiet import quieten_libraries

    quieten_libraries()
    importlib.import_module("worker.qlora.recipe")
    for name in LATER:
        with suppress(ImportError):  # not on every machine, or of another version
            importlib.import_module(name)
    with suppress(ImportError):
        from triton.runtime.cache import triton_key

        triton_key()  # hashes Triton's own files, 0.3 s, and remembers: each kernel's place in its cache depends on them


@contextmanager
def without_cuda(capability: str) -> Iterator[None]:
    """bitsandbytes and Liger ask for the GPU while they are imported. The agent has asked the driver instead.

    A process whose parent has touched CUDA cannot use it.
    """
    import torch

    kept = {name: getattr(torch.cuda, name) for name in answers(capability)}
    for name, answer in answers(capability).items():
        setattr(torch.cuda, name, answer)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(torch.cuda, name, function)


def answers(capability: str) -> dict[str, Callable[..., Any]]:
    """Two GPUs, which is right for a run that sees one: bitsandbytes then asks on which of them a tensor lies, in a microsecond."""
    found = tuple(int(part) for part in capability.split(".")) if capability else None
    return {
        "is_available": lambda: found is not None,
        "device_count": lambda: 2 if found else 0,
        "get_device_capability": lambda device=None: found,
    }


def why_not_forkable() -> str:
    """Empty when a fork of this process can train."""
    import torch

    if torch.cuda.is_initialized() or open_gpu_files():  # type: ignore[no-untyped-call]
        return f"a library opened the GPU while it was imported ({', '.join(open_gpu_files()) or 'a CUDA context'})"
    if more := len(list(Path("/proc/self/task").iterdir())) - 1:
        return f"a library started {more} threads while it was imported, and threads do not survive a fork"
    return ""


def open_gpu_files() -> list[str]:
    targets = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    return sorted(str(target) for target in targets if target.match("/dev/nvidia*"))
