"""A job of several processes, as its agent runs it: one story, one end, and whose fault it was."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import wait_until
from tests.worker.agent.attempts import Running, paced, start
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.agent.tiny_model import write_model
from worker.agent.children import MARK
from worker.agent.rank_environment import rank_environment

HERE = paced(stop_seconds=5, grace_seconds=1)


def go(door: ScriptedDoor, data: Path, script: str, *, count: int = 2, **training: Any) -> Running:
    model = write_model(data / "model")
    spec = {
        "base_model": {"kind": "folder", "name_or_path": str(model)},
        "training": {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, **training},
        "plan": {"num_processes": count},
    }
    return start(door, data, script, pace=HERE, spec=spec, slots=tuple(range(count)))


def marked(data: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == f"{data}#0":
                found.append(process)
        except psutil.Error:
            continue
    return found


def ranks(data: Path) -> set[str]:
    return {process.environ().get("RANK", "") for process in marked(data)}


def test_as_many_processes_as_asked_for_tell_one_story(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = go(scripted, tmp_path, "steps=200 step_ms=20 rank_prints=hello", count=3)
    running.wait_for_step(3)
    assert ranks(tmp_path) == {"0", "1", "2"}
    environment = marked(tmp_path)[0].environ()
    assert (environment["WORLD_SIZE"], environment["MASTER_ADDR"]) == ("3", "127.0.0.1")
    scripted.order = "stop_and_save"
    assert running.wait()["outcome"] == "stopped_saved"
    assert not marked(tmp_path)
    steps = [event["step"] for event in scripted.said("metrics")]
    assert steps == sorted(set(steps)), "told by one process"
    assert "[process 2] hello" in scripted.log


def test_a_process_that_is_killed_ends_the_run_and_is_named(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = go(scripted, tmp_path, "steps=100000 step_ms=20 rank_kill9=300")
    end = running.wait()
    assert (end["outcome"], end["cause"], end["exit_code"]) == ("failed", "trainer_killed", -9)
    assert end["message"].startswith("Process 2 of the 2 of the trainer was killed by signal 9 (SIGKILL)")
    assert not marked(tmp_path)


def test_the_first_one_killed_is_named_too(scripted: ScriptedDoor, tmp_path: Path) -> None:
    end = go(scripted, tmp_path, "steps=100000 step_ms=20 kill9=2").wait()
    assert end["message"].startswith("Process 1 of the 2 of the trainer was killed by signal 9 (SIGKILL) at step 2")


def test_any_process_out_of_memory_makes_a_smaller_plan_for_all(
    scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 rows a step are 4 for each of two; 4 a pass are too many for the second card."""
    monkeypatch.setattr("worker.agent.ranks.GRACE_SECONDS", 0.5)
    running = go(scripted, tmp_path, "steps=100 step_ms=20 rank_oom_rows=2")
    assert running.wait()["outcome"] == "finished"
    (replanned,) = scripted.said("replanned")
    assert replanned["before"]["per_device_train_batch_size"] == 4
    assert (replanned["after"]["per_device_train_batch_size"], replanned["after"]["gradient_accumulation_steps"]) == (2, 2)
    assert replanned["why"].startswith("Process 2 of 2: CUDA ran out of memory")


def test_a_run_that_stands_still_is_ended_with_the_stacks_of_all(scripted: ScriptedDoor, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    spec = {
        "base_model": {"kind": "folder", "name_or_path": str(model)},
        "training": {"max_steps": 3},
        "plan": {"num_processes": 2},
    }
    running = start(scripted, tmp_path, "steps=100 hang=2", pace=paced(setup_seconds=2, step_seconds=1), spec=spec, slots=(0, 1))
    end = running.wait()
    assert (end["cause"], "stood still" in end["message"]) == ("trainer_stalled", True)
    assert any(line.startswith("[process 2] ") and "File" in line for line in scripted.log)


def test_an_agent_that_is_killed_takes_all_processes_along(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = tmp_path / "work"
    folder.mkdir()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from worker.agent.children import Spawned, small_environment\n"
        "from worker.agent.log_lines import LogSink\n"
        "from worker.agent.ranks import Ranks\n"
        "from worker.contract.run_directory import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1])); run.events.touch()\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "start = lambda n: Spawned(sleep, folder=run.path, environment=small_environment({'RANK': str(n)}), mark=sys.argv[2],\n"
        "                          log=LogSink(lambda text, level: None))\n"
        "ranks = Ranks(start, count=2, run=run)\n"
        "time.sleep(600)\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", code, str(folder), f"{tmp_path}#0"])
    try:
        wait_until(lambda: len(ranks(tmp_path)) == 2, what="two processes", alive=lambda: agent.poll() is None)
    finally:
        agent.kill()
        agent.wait()
    wait_until(lambda: not marked(tmp_path), what="their end")


@pytest.mark.parametrize("count", [1, 4])
def test_a_process_alone_is_told_nothing(count: int) -> None:
    told = [rank_environment(rank, count=count, meeting=Path("meeting")) for rank in range(count)]
    assert [environment.get("RANK") for environment in told] == ([None] if count == 1 else ["0", "1", "2", "3"])
