"""One task of worker.rows, as the dashboard starts it: seconds, processor time and the peak memory of each of its processes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from worker.contract.message import Message

LOOK_SECONDS = 0.05


def run_task(folder: Path, task: Message) -> dict[str, Any]:
    """What came back is in the folder."""
    (folder / "task.json").write_text(task.model_dump_json())
    load, started = os.getloadavg()[0], time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "worker.rows", str(folder)])
    peaks = _watched(process)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"worker.rows ended with code {process.returncode}.")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(peaks.pop("cpu"), 1),
        "peak_mb": sorted((round(peak / 1e6) for peak in peaks.values()), reverse=True),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }


def _watched(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Peak memory by process, and under `cpu` the seconds that all of them computed: a process brings those of its dead children."""
    peaks: dict[str, float] = {}
    before = os.times()
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        for one in _with_children(parent):
            try:
                peaks[str(one.pid)] = _peak(one.pid)
            except (OSError, StopIteration):
                continue
        time.sleep(LOOK_SECONDS)
    after = os.times()
    peaks["cpu"] = after.children_user + after.children_system - before.children_user - before.children_system
    return peaks


def _with_children(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _peak(pid: int) -> float:
    """The kernel keeps it: no peak between two looks is missed."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
