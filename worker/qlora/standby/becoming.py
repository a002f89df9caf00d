"""Makes a fork of the standby what a new process would be: its own session, output, environment, name and ties to the agent."""

import ctypes
import fcntl
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from worker.contract.standby import MARK, Start
from worker.qlora.lifeline import EXIT_ABANDONED, die_with_parent

FIRST_ADDRESS = 45  # of those of arguments and environment among the words of /proc/PID/stat after the program's name


@dataclass(frozen=True)
class Taken:
    """A run that this process is now."""

    start: Start
    output: int
    lifeline: int
    standby: int
    """The process that it was forked from."""
    given: dict[str, str]
    """Its environment before it imported anything: libraries add to theirs, for themselves."""


def become(taken: Taken) -> None:
    os.setsid()
    die_with_parent()
    hold_on(taken.lifeline)
    if os.getppid() != taken.standby:
        os._exit(EXIT_ABANDONED)
    for stream in (1, 2):
        os.dup2(taken.output, stream)
    os.close(taken.output)
    start = taken.start
    added = {name: value for name, value in os.environ.items() if name not in taken.given}
    os.environ.clear()
    os.environ.update({**added, **start.environment, MARK: start.mark})
    os.chdir(start.run)
    sys.argv[1:] = [str(start.run)]
    show_as(["-P", "-m", "worker.qlora", str(start.run)], mark=start.mark)


def hold_on(lifeline: int) -> None:
    """The kernel ends this process when the agent's end of the pipe closes, however the agent went."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # it went before
        os._exit(EXIT_ABANDONED)


def show_as(arguments: list[str], *, mark: str) -> None:
    """What `ps` shows, and the mark by which the agent finds what a run has left: both lie where the kernel put them at the start.

    Nothing else reads them there: os.environ was written anew, and that copies.
    """
    words = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, last, begin, end = map(int, words[FIRST_ADDRESS : FIRST_ADDRESS + 4])
    overwrite(first, last, "\0".join([sys.executable, *arguments]).encode())
    text = b"\0" + ctypes.string_at(begin, end - begin)
    name = f"\0{MARK}=".encode()
    if (place := text.find(name)) >= 0:
        value = place + len(name)
        overwrite(begin + value - 1, begin + text.index(b"\0", value) - 1, mark.encode())


def overwrite(begin: int, end: int, text: bytes) -> None:
    """The rest with zeros; what is too long is cut."""
    size = end - begin
    ctypes.memmove(begin, text[: size - 1].ljust(size, b"\0"), size)
