"""The trainer does not outlive its agent: not a dead one, not a frozen one. By hand it needs none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.waiting import wait_until

HOLD = """
import sys, time
from pathlib import Path
from worker.qlora import lifeline
lifeline.hold_on_to_agent(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
# An agent that starts the trainer, says its pid, and waits to be killed.
AGENT = """
import subprocess, sys, time
trainer = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], "300"], stdout=subprocess.PIPE, text=True)
trainer.stdout.readline()
print(trainer.pid, flush=True)
time.sleep(300)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_dead_agent_takes_the_trainer_with_it(tmp_path: Path) -> None:
    (tmp_path / "alive").touch()
    agent = start(AGENT, HOLD, str(tmp_path / "alive"))
    assert agent.stdout is not None
    trainer = int(agent.stdout.readline())
    assert is_alive(trainer)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    wait_until(lambda: not is_alive(trainer), what="the trainer's end", seconds=5)


def test_a_frozen_agent_is_noticed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.touch()
    os.utime(alive, (time.time() - 61, time.time() - 61))
    trainer = start(HOLD, str(alive), "300")
    assert trainer.wait(timeout=20) == 70
    assert trainer.stderr is not None
    assert "no sign of life for 60 s" in trainer.stderr.read()


def test_a_living_agent_is_left_alone_and_a_cleared_run_is_not(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.touch()
    trainer = start(HOLD, str(alive), "300")
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "held\n"
    assert trainer.poll() is None
    alive.unlink()
    assert trainer.wait(timeout=20) == 70


def test_by_hand_there_is_no_agent_to_wait_for(tmp_path: Path) -> None:
    trainer = start(HOLD, str(tmp_path / "alive"), "0")
    assert trainer.wait(timeout=20) == 0
