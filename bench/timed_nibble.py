"""Nibble's trainer with a clock read at each step's end, for trainer_overhead.py.

python -m bench.timed_nibble RUN_DIR RESULT.json
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: str, result: str) -> int:
    from worker.qlora import __main__ as trainer
    from worker.qlora.progress import Progress

    wall: list[float] = []
    cpu: list[float] = []
    own: list[float] = []
    losses: list[float] = []
    log, step_end = Progress.on_log, Progress.on_step_end

    def on_step_end(self: Progress, *arguments: Any, **rest: Any) -> None:
        began = time.perf_counter()
        step_end(self, *arguments, **rest)
        own.append(time.perf_counter() - began)

    def on_log(self: Progress, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
        began = time.perf_counter()
        log(self, args, state, control, logs, **rest)
        own[-1] += time.perf_counter() - began
        if logs and "loss" in logs:  # after Nibble has told the step: its own work is in
            wall.append(time.monotonic())
            cpu.append(time.process_time())
            losses.append(logs["loss"])

    Progress.on_log = on_log  # type: ignore[method-assign]
    Progress.on_step_end = on_step_end  # type: ignore[method-assign]
    code = trainer.main([folder])
    measured: dict[str, Any] = {"loop_seconds": wall[-1] - wall[0], "loop_cpu_seconds": cpu[-1] - cpu[0], "losses": losses}
    measured["own_seconds_a_step"] = statistics.median(own[1:])
    Path(result).write_text(json.dumps(measured))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
