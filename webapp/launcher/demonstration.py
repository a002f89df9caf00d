"""Runs the demo beside the programs that it needs: a process of its own, in the same terminal, while they are watched over."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from webapp.launcher.children import ROOT, end_with_parent
from webapp.launcher.supervisor import Supervisor


def run_demo(supervisor: Supervisor, environment: Mapping[str, str], *, link: str) -> int:
    """Its exit status. The link goes through a pipe: a command line can be read by everyone on the machine."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "demo"],
        env=dict(environment),
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )
    try:
        assert process.stdin is not None
        process.stdin.write(f"{link}\n")
        process.stdin.close()
        supervisor.watch(lambda: process.poll() is not None)
        return process.returncode
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with the model that it may be asking just now
            process.wait()
