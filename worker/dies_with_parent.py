"""Becomes the given program after asking the kernel to end it when its parent ends. Run as a file, by the agent and the dashboard.

A wrapper instead of preexec_fn: that one is not safe where the parent has threads.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie_to_parent(parent: int) -> None:
    """SIGKILL when the thread that started this process ends. Ends at once if the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    tie_to_parent(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # Celery's children ignore SIGINT, and an ignored signal survives exec
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump of a trainer would hold the model
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
