"""The trainer dies with its agent: by the kernel's signal when the agent dies, by a watchdog when it only freezes.

A run by hand has no `alive` file and gets neither.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

DEADLINE_SECONDS = 60.0
CHECK_SECONDS = 2.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
EXIT_ABANDONED = 70


def hold_on_to_agent(alive: Path) -> None:
    """Called once, before anything slow. Does nothing when no agent is there."""
    if not alive.exists():
        return
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:  # it died between the two calls, so no signal will come
        os._exit(EXIT_ABANDONED)
    threading.Thread(target=watch, args=(alive,), name="lifeline", daemon=True).start()


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def watch(alive: Path, *, deadline: float = DEADLINE_SECONDS, every: float = CHECK_SECONDS) -> None:
    while is_fresh(alive, deadline=deadline):
        time.sleep(every)
    sys.stderr.write(f"The agent gave no sign of life for {deadline:.0f} s; the trainer ends itself.\n")
    sys.stderr.flush()
    os._exit(EXIT_ABANDONED)


def is_fresh(alive: Path, *, deadline: float) -> bool:
    """False too when the file is gone: the agent has cleared the run away."""
    try:
        return time.time() - alive.stat().st_mtime < deadline
    except FileNotFoundError:
        return False
