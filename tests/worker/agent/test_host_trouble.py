"""A trainer that the machine ended: the kernel's OOM killer, a GPU that failed. The job is not blamed for it."""

import re
from pathlib import Path

import pytest

from tests.worker.agent.attempts import start
from tests.worker.agent.scripted_door import ScriptedDoor
from worker.agent import host_trouble
from worker.agent.host_trouble import TROUBLE, oom_kills, rose


@pytest.fixture
def kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's count, in a file of ours."""
    file = tmp_path / "vmstat"
    file.write_text("nr_free_pages 5\noom_kill 3\n")
    monkeypatch.setattr(host_trouble, "VMSTAT", file)
    monkeypatch.setattr(host_trouble, "OWN_CGROUP", tmp_path / "none")
    return file


@pytest.mark.parametrize(
    ("own", "path", "text"),
    [
        ("0::/\n", "memory.events", "low 0\noom 1\noom_kill 4\noom_group_kill 0\n"),
        ("0::/box/7\n", "box/7/memory.events", "oom_kill 4\n"),
        ("4:memory:/box/7\n3:cpu:/\n", "memory/box/7/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
        ("4:cpuset,memory:/box/7\n", "memory/memory.oom_control", "oom_kill 4\n"),
    ],
    ids=["version 2, container", "version 2", "version 1", "version 1, container"],
)
def test_the_count_is_read_where_the_kernel_keeps_it(
    kills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, path: str, text: str
) -> None:
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(host_trouble, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(host_trouble, "CGROUPS", tmp_path / "cgroups")
    before = oom_kills()
    assert before == {str(kills): 3}
    file = tmp_path / "cgroups" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert not rose(before), "a counter that was not there before says nothing"
    before = oom_kills()
    assert before[str(file)] == 4
    file.write_text(text.replace("oom_kill 4", "oom_kill 5"))
    assert rose(before)


def test_this_machine_can_be_asked() -> None:
    assert all(count >= 0 for count in oom_kills().values())
    assert not rose(oom_kills())


def test_a_kill_for_want_of_memory_is_the_hosts(scripted: ScriptedDoor, tmp_path: Path, kills: Path) -> None:
    running = start(scripted, tmp_path / "w", "steps=5000 step_ms=10 kill9=40")
    running.wait_for_step(5)
    kills.write_text("oom_kill 4\n")
    end = running.wait()
    assert (end["cause"], end["exit_code"]) == ("host_out_of_memory", -9)
    assert end["message"] == "The machine ran out of main memory at step 40, and the kernel ended the trainer."


def test_another_kill_is_not(scripted: ScriptedDoor, tmp_path: Path, kills: Path) -> None:
    end = start(scripted, tmp_path / "w", "steps=50 kill9=4").wait()
    assert (end["cause"], end["exit_code"]) == ("trainer_killed", -9)


def test_a_gpu_that_falls_off_the_bus_is_the_nodes(scripted: ScriptedDoor, tmp_path: Path) -> None:
    end = start(scripted, tmp_path, "steps=9 xid=4").wait()
    assert (end["cause"], end["exit_code"]) == ("node_trouble", 1)
    assert end["message"].startswith("The GPU failed at step 4: NVRM: Xid (PCI:0000:3b:00): 79,")
    assert "fallen off the bus" in end["message"]


def test_words_about_it_do_no_harm_to_a_run_that_succeeds(
    scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_trouble, "TROUBLE", re.compile("step 2"))
    assert start(scripted, tmp_path, "steps=4").wait()["outcome"] == "finished"


def test_what_the_trainer_says_of_itself_wins(scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_trouble, "TROUBLE", re.compile("step 2"))
    assert start(scripted, tmp_path, "steps=4 nan=3").wait()["cause"] == "diverged"


def test_an_internal_error_after_such_words_is_the_nodes(
    scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_trouble, "TROUBLE", re.compile("step 2"))
    assert start(scripted, tmp_path, "steps=4 fail=internal@3").wait()["cause"] == "node_trouble"


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
        "[12.3] NVRM: Xid (PCI:0000:b3:00): 48, pid='<unknown>', An uncorrectable double bit error",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "Unable to determine the device handle for GPU0: 0000:3B:00.0: Unknown Error",
        "GPU is lost.  Reboot the system to recover this GPU",
        "RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.",
    ],
)
def test_trouble_is_known(line: str) -> None:
    assert TROUBLE.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:3b:00): 31, pid=1234, name=python, MMU Fault",
        "NVRM: Xid (PCI:0000:63:00): 13, Graphics Exception",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA error: device-side assert triggered",
        "step 79 loss 0.48",
        "an exercise about ECC and buses",
    ],
)
def test_a_jobs_own_faults_are_no_trouble(line: str) -> None:
    assert not TROUBLE.search(line)
