"""Runs forked from a real standby: the same results as of a new process, the same ends, and nothing that outlives its agent."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.standbys import LONG, Begun, begin, running_standby, wait_ready
from tests.worker.qlora.runs import make_tiny_model, told
from worker.agent.children import MARK, end_marked
from worker.agent.forked import ready_standby
from worker.agent.standby import Standby
from worker.contract.events import MetricsLogged, TrainingFailed

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[3]
HOLD = "import sys; from tests.worker.agent.standbys import hold; hold(sys.argv[1], sys.argv[2], with_standby=sys.argv[3] == 'yes')"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longer than the path of a Unix socket may be."""
    return tmp_path_factory.mktemp("standby") / ("a-data-folder-with-a-name-" + "that-goes-on-" * 6)


@pytest.fixture(scope="module")
def standby(data: Path, model: Path) -> Iterator[Standby]:  # model: torch changes the environment of whoever imports it
    with running_standby(data) as running:
        yield running


@pytest.fixture(autouse=True)
def _ready(standby: Standby, data: Path) -> None:
    wait_ready(standby, data)


def closed(begun: Begun) -> Begun:
    begun.child.close()
    return begun


def is_forked(begun: Begun) -> bool:
    return begun.how[0].startswith("Forked from the standby")


def in_another_process(data: Path, model: Path, *, with_standby: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(data), str(model), "yes" if with_standby else "no"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_it_waits_without_a_gpu_and_without_threads(data: Path) -> None:
    ready = ready_standby(data)
    assert ready is not None
    process = psutil.Process(ready.pid)
    assert process.num_threads() == 1
    assert process.nice() == psutil.Process().nice(), "its runs would be as idle as it was while it imported"
    files = [str(link.resolve()) for link in Path(f"/proc/{ready.pid}/fd").iterdir()]
    assert len(files) > 4, "a socket among them"
    assert not [name for name in files if name.startswith("/dev/nvidia")]
    assert 100e6 < ready.memory_bytes < 1e9
    assert (data / "standby" / "socket").stat().st_mode & 0o077 == 0


def test_importing_does_not_touch_cuda() -> None:
    code = (
        "import os, torch; from worker.qlora.standby.libraries import import_idly, why_not_forkable\n"
        "from worker.agent.host import compute_capability\n"
        "kept = torch.cuda.is_available, torch.cuda.device_count, torch.cuda.get_device_capability\n"
        "def touched(*_): raise AssertionError('CUDA was touched')\n"
        "torch.cuda._lazy_init = touched\n"
        "import_idly(compute_capability()); assert not torch.cuda.is_initialized()\n"
        "assert kept == (torch.cuda.is_available, torch.cuda.device_count, torch.cuda.get_device_capability)\n"
        "print(why_not_forkable() or 'forkable')\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "forkable\n", done.stderr


def test_a_fork_trains_what_a_new_process_trains(data: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forked = begin(data, 1, model=model)
    assert is_forked(forked), forked.how
    assert forked.wait() == 0, forked.lines
    monkeypatch.setenv("NIBBLE_STANDBY", "0")
    spawned = begin(data, 2, model=model)
    assert spawned.how[0].startswith("Started as a new process"), spawned.how
    assert spawned.wait() == 0, spawned.lines
    losses = [[metrics.loss for metrics in told(each.run, MetricsLogged)] for each in (closed(forked), closed(spawned))]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    weights = [(each.run.adapter / "adapter_model.safetensors").read_bytes() for each in (forked, spawned)]
    assert weights[0] == weights[1], "byte by byte"


def test_it_looks_like_a_process_of_its_own(data: Path, model: Path) -> None:
    begun = begin(data, 3, model=model, environment={"CUDA_VISIBLE_DEVICES": ""}, training=LONG)
    begun.wait_for_step(1)
    process = begun.process
    assert process.cmdline()[1:5] == ["-P", "-m", "worker.qlora", str(begun.run.path)]
    assert process.environ()[MARK] == f"{data}#3"
    assert process.cwd() == str(begun.run.path)
    assert os.getsid(begun.child.pid) == begun.child.pid
    assert end_marked(f"{data}#3") == 1
    assert begun.wait() == -signal.SIGKILL
    closed(begun)
    assert is_over(process)


def test_signals_and_exit_codes_are_those_of_a_new_process(data: Path, model: Path) -> None:
    begun = begin(data, 4, model=model, training=LONG)
    begun.wait_for_step(1)
    begun.child.dump_stacks()
    wait_until(lambda: any("Current thread" in line for line in begun.lines), what="the stacks", seconds=20)
    assert begun.child.exit_code() is None
    begun.child.terminate()
    assert begun.wait() == -signal.SIGTERM
    closed(begun)
    failing = begin(data, 5, model=model, lora={"target_modules": ["no_such_layer"]})
    assert failing.wait() == 1
    assert told(closed(failing).run, TrainingFailed)


def test_a_run_can_be_ended_in_the_moment_in_which_it_began(data: Path, model: Path) -> None:
    for number in range(20, 40):
        begun = closed(begin(data, number, model=model))
        assert is_forked(begun)
        assert begun.child.exit_code() == -signal.SIGKILL


def test_two_runs_at_once_do_not_hold_one_another(data: Path, model: Path) -> None:
    long = begin(data, 6, model=model, training=LONG)
    short = begin(data, 7, model=model)
    assert is_forked(long)
    assert is_forked(short)
    assert short.wait() == 0, short.lines
    closed(short)
    assert long.child.exit_code() is None
    long.child.close()
    assert long.child.exit_code() == -signal.SIGKILL


def test_a_killed_slot_takes_its_run_with_it(data: Path, model: Path) -> None:
    slot = in_another_process(data, model, with_standby=False)
    assert slot.stdout is not None
    number, how = slot.stdout.readline().split(" ", 1)
    assert how.startswith("Forked from the standby"), how
    run = psutil.Process(int(number))
    ready = ready_standby(data)
    assert ready is not None
    psutil.Process(ready.pid).suspend()  # the kernel ends the run, not the standby
    try:
        slot.kill()
        slot.wait()
        wait_until(lambda: is_over(run), what="the run's end", seconds=5)
    finally:
        psutil.Process(ready.pid).resume()
    wait_until(lambda: not run.is_running(), what="the run to be reaped", seconds=5)
    assert psutil.Process(ready.pid).is_running()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "it was started with another OMP_WAIT_POLICY"),
        ({"NIBBLE_STANDBY": "0"}, "not wanted here"),
    ],
)
def test_what_it_cannot_serve_starts_as_a_new_process(
    data: Path, model: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], why: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    begun = begin(data, 100 + len(why), model=model, training=LONG)
    assert begun.how[0].endswith(f"The standby: {why}."), begun.how
    assert begun.process.parent() == psutil.Process()
    begun.child.close()


def test_a_killed_standby_takes_its_runs_with_it_and_starts_again(
    data: Path, model: Path, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.agent.standby.FIRST_PAUSE", 0.1)
    ready = ready_standby(data)
    assert ready is not None
    begun = begin(data, 70, model=model, training=LONG)
    assert is_forked(begun), begun.how
    begun.wait_for_step(1)
    run = begun.process
    os.kill(ready.pid, signal.SIGKILL)
    assert begun.wait(10) == -signal.SIGKILL
    wait_until(lambda: is_over(run), what="the run's end", seconds=5)
    begun.child.close()
    assert wait_ready(standby, data, other_than=ready.pid) != ready.pid


def test_a_killed_agent_takes_standby_and_runs_with_it(tmp_path: Path, model: Path) -> None:
    agent = in_another_process(tmp_path / "data", model, with_standby=True)
    assert agent.stdout is not None
    number, how = agent.stdout.readline().split(" ", 1)
    assert how.startswith("Forked from the standby"), how
    ready = json.loads((tmp_path / "data" / "standby" / "ready.json").read_text())
    processes = [psutil.Process(int(number)), psutil.Process(ready["pid"])]
    agent.kill()
    agent.wait()
    wait_until(lambda: all(is_over(process) for process in processes), what="their end", seconds=5)


def test_changed_files_make_it_retire_while_its_runs_go_on(
    data: Path, model: Path, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = begin(data, 60, model=model, training=LONG)
    going.wait_for_step(1)
    old = ready_standby(data)
    assert old is not None
    for module in ("standby", "forked"):
        monkeypatch.setattr(f"worker.agent.{module}.signature", lambda: "another")
    monkeypatch.setattr("worker.agent.standby.LOOK_SECONDS", 0)
    refused = begin(data, 61, model=model, training=LONG)
    assert refused.how[0].endswith("The standby: its files have changed since it imported them."), refused.how
    refused.child.close()
    standby.tend()
    monkeypatch.setattr("worker.agent.standby.LOOK_SECONDS", 1e9)
    new = wait_ready(standby, data, other_than=old.pid)
    assert going.child.exit_code() is None
    assert new != old.pid
    going.child.close()
    wait_until(lambda: not psutil.pid_exists(old.pid) or is_over(psutil.Process(old.pid)), what="the old one's end", seconds=10)
    again = begin(data, 62, model=model)
    assert is_forked(again), again.how
    assert again.wait() == 0, again.lines
    again.child.close()
