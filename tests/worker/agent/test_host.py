"""What a machine has, and which of its GPUs a worker may use."""

from pathlib import Path

import pytest

from worker.agent.host import free_memory_bytes, host_report, versions, visible
from worker.contract.orders import GpuReport


def gpu(index: int) -> GpuReport:
    return GpuReport(index=index, uuid=f"GPU-{index}aaa", name="H100", memory_total_bytes=80, memory_used_bytes=1)


def test_this_machine_is_reported(tmp_path: Path) -> None:
    report = host_report(tmp_path)
    assert report.cpu_count >= 1
    assert 0 < report.memory_used_bytes < report.memory_total_bytes
    assert report.disk_total_bytes
    assert 0 < report.disk_free_bytes < report.disk_total_bytes
    assert 0 < free_memory_bytes(None) < report.memory_total_bytes


def test_versions_are_read_without_an_import() -> None:
    assert {"python", "torch", "transformers", "trl", "peft", "bitsandbytes"} <= set(versions())


@pytest.mark.parametrize(
    ("allowed", "indexes"),
    [(None, [0, 1, 2]), ("", []), ("1", [1]), ("2,0", [2, 0]), ("GPU-1aaa", [1]), ("GPU-1", [1]), ("0,0", [0]), ("7", [])],
)
def test_cuda_visible_devices_is_obeyed(allowed: str | None, indexes: list[int]) -> None:
    assert [each.index for each in visible([gpu(0), gpu(1), gpu(2)], allowed)] == indexes
