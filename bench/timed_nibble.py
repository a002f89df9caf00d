"""Nibble's trainer with a clock read at each step's end, for trainer_overhead.py.

python -m bench.timed_nibble RUN_DIR RESULT.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: str, result: str) -> int:
    from worker.qlora import __main__ as trainer
    from worker.qlora.progress import Progress

    wall: list[float] = []
    cpu: list[float] = []
    log, told = Progress.on_log, []

    def on_log(self: Progress, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
        log(self, args, state, control, logs, **rest)
        if logs and "loss" in logs:  # after Nibble has told the step: its own work is in
            wall.append(time.monotonic())
            cpu.append(time.process_time())
            told.append(logs["loss"])

    Progress.on_log = on_log  # type: ignore[method-assign]
    code = trainer.main([folder])
    measured = {"loop_seconds": wall[-1] - wall[0], "loop_cpu_seconds": cpu[-1] - cpu[0], "losses": told}
    Path(result).write_text(json.dumps(measured))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
