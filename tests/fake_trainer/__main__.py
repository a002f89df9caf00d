"""`python -m tests.fake_trainer RUN_DIR`, in the place of worker.qlora."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fake_trainer.script import Script
from tests.fake_trainer.training import FakeTraining
from worker.contract.events import TrainingFailed, append_event
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory


def main(folder: str) -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    run = RunDirectory(Path(folder))
    order = WorkOrder.model_validate_json(run.order.read_text())
    text = f"{os.environ.get('NIBBLE_TRAINER_SCRIPT', '')} {order.job_name}"
    script = Script(text, is_first_attempt=order.attempt_number == 1)
    if script.number("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert run.dataset.stat().st_size == order.dataset.size_bytes
    if int(os.environ.get("RANK", 0)):
        follow(run, order, script)
        return
    if script.number("orphan"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    FakeTraining(run, order, script).run()


def follow(run: RunDirectory, order: WorkOrder, script: Script) -> None:
    rank, rows = int(os.environ["RANK"]), script.number("rank_oom_rows")
    is_faulty = rank == 1
    if is_faulty:
        sys.stdout.write(f"{script.word('rank_prints')}\n")
        sys.stdout.flush()
        if wait := script.machine("rank_kill9"):
            time.sleep(wait / 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        planned = FakeTraining(run, order, script).pass_plan().per_device_train_batch_size
        if rows and planned > rows:
            text = f"CUDA ran out of memory with {planned} rows a pass."
            append_event(run.failure_of(rank), TrainingFailed(cause="out_of_memory", message=text, advice="Use fewer.", step=0))
            sys.exit(1)
    while not any(word in run.events.read_text() for word in ('"kind": "ended"', '"kind": "failed"')):
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
