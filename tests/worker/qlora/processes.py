"""Runs of several processes on this machine's CPU, as the agent starts them: each a rank, joined through gloo."""

import os
import subprocess
import sys
import time
from pathlib import Path

from worker.contract.run_directory import RunDirectory

GRACE_SECONDS = 15.0
ROOT = Path(__file__).resolve().parents[3]


def train_together(run: RunDirectory, *, count: int, module: str = "worker.qlora") -> list[int]:
    """The exit codes, first process first. What they print stays in the run directory."""
    from worker.agent.rank_environment import rank_environment

    run.meeting.unlink(missing_ok=True)
    processes = []
    for rank in range(count):
        with (run.path / f"output-{rank}.txt").open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, str(run.path)],
                    cwd=ROOT,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **rank_environment(rank, count=count, meeting=run.meeting)},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    return end_together(processes, seconds=300)


def end_together(processes: list[subprocess.Popen[bytes]], *, seconds: float) -> list[int]:
    """Their exit codes. One that ends badly takes the others along after a while, as with the agent: NCCL would wait for ever."""
    deadline = time.monotonic() + seconds
    try:
        while any(process.poll() is None for process in processes):
            if any(process.returncode for process in processes):
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
    return [process.wait() for process in processes]
