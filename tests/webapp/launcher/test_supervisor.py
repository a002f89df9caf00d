"""Programs are kept running, end in order, and end with ./start however it dies. Real processes throughout."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from webapp.launcher import children, supervisor
from webapp.launcher.children import Program
from webapp.launcher.supervisor import Stopped, Supervisor, stopping_on_signals

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def program(name: str, code: str, *, stop_seconds: float = 5) -> Program:
    return Program(name, [sys.executable, "-c", textwrap.dedent(code)], ENVIRONMENT, stop_seconds=stop_seconds)


SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def test_one_that_dies_is_started_again_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched = Supervisor(tmp_path)
    first = watched.start(program("sleeper", SLEEPER))
    first.process.kill()
    try:
        assert watched.watch(lambda: (again := watched.kept[0].child) is not None and again is not first, seconds=20)
        said = capsys.readouterr().out
        assert "sleeper was ended by SIGKILL; it starts again in 1 s" in said
        assert str(tmp_path / "sleeper.log") in said
    finally:
        watched.stop()


def test_the_pauses_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(supervisor, "PAUSES", (0.01, 0.02, 0.03))
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.01)
    watched = Supervisor(tmp_path)
    watched.start(program("broken", "raise SystemExit(3)"))
    watched.watch(lambda: watched.kept[0].failures >= 4, seconds=20)
    watched.stop()
    said = capsys.readouterr().out
    assert [f"in {pause} s" in line for pause, line in zip(("0.01", "0.02", "0.03", "0.03"), said.splitlines(), strict=False)] == [
        True
    ] * 4
    assert "ended with status 3" in said


def test_the_worker_ends_first_and_redis_last(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    code = """
        import signal, sys, time
        def end(*_):
            open({ends!r}, "a").write({name!r} + " ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        time.sleep(600)
    """
    watched = Supervisor(tmp_path)
    for name in ("redis", "worker", "web"):
        ranked = program(name, code.format(ends=str(ends), name=name))
        watched.start(replace(ranked, stop_first=name == "worker", stop_last=name == "redis"))
    wait_until(lambda: all((tmp_path / f"{name}.log").read_text() for name in ("redis", "web", "worker")), what="all are up")
    watched.stop()
    assert ends.read_text().split() == ["worker", "web", "redis"]


def test_one_that_does_not_listen_is_ended_with_its_children(tmp_path: Path) -> None:
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, flush=True)
        time.sleep(600)
    """
    watched = Supervisor(tmp_path)
    deaf = watched.start(program("deaf", code, stop_seconds=0.3))
    grandchild = int(wait_until(lambda: (tmp_path / "deaf.log").read_text().strip(), what="its child"))
    began = time.monotonic()
    watched.stop()
    assert time.monotonic() - began < 5
    assert deaf.status == -signal.SIGKILL
    wait_until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie", what="its child's end")


def test_programs_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    starter = f"""
        import sys, time
        from pathlib import Path
        from webapp.launcher.children import Program
        from webapp.launcher.supervisor import Supervisor
        child = Supervisor(Path({str(tmp_path)!r})).start(Program("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], {{}}))
        print(child.process.pid, flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(starter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=children.ROOT) as parent:
        assert parent.stdout is not None
        sleeper = int(parent.stdout.readline())
        parent.kill()
    wait_until(
        lambda: not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == "zombie", what="the end of the program"
    )


def test_signals_become_stopped_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stopping_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_long_log_is_cut_and_the_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_LOG_BYTES", 100)
    log = tmp_path / "web.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 200)
        writer.flush()
        children.trim(log)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "web.log.1").stat().st_size == 200
