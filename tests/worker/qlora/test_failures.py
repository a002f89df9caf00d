"""Every exception becomes one sentence with a cause that the dashboard knows."""

import errno

import pytest

from worker.qlora.failures import Diverged, RunFailed, explain


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which is told by its name so that torch need not be loaded to explain."""


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (RunFailed("bad_config", "No such layer.", advice="Choose another."), "bad_config", "No such layer."),
        (Diverged("the loss was not a finite number", step=7), "diverged", "step 7"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", "GPU"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory", "GPU"),
        (MemoryError(), "host_out_of_memory", "machine"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "host_out_of_memory", "machine"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "host_out_of_memory",
            "machine",
        ),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "node_trouble", "ECC"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full", "disk"),
        (RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0"), "disk_full", "disk"),
        (KeyboardInterrupt(), "trainer_killed", "keyboard"),
        (ZeroDivisionError("division by zero"), "internal", "ZeroDivisionError: division by zero"),
        (RuntimeError("x" * 10_000), "internal", "RuntimeError"),
    ],
)
def test_each_has_its_cause(error: BaseException, cause: str, said: str) -> None:
    event = explain(error)
    assert event.cause == cause
    assert said in event.message


def test_torchs_own_error_is_known() -> None:
    torch = pytest.importorskip("torch")
    assert explain(torch.OutOfMemoryError("CUDA out of memory.")).cause == "out_of_memory"
