"""Waits for runs, forks them, tells how they ended. One thread, so that a fork is whole."""

import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from worker.contract.standby import MESSAGE_BYTES, READY, SOCKET, Ended, Ready, Refused, Spoken, Start, Started, differing
from worker.qlora.standby.becoming import Taken
from worker.qlora.standby.libraries import why_not_forkable

PATIENCE_SECONDS = 2.0  # with someone who knocks and says nothing
FILES = 2


@dataclass
class Run:
    pid: int
    has_ended: bool = False


class Server:
    """`environment` is that in which the libraries were imported, `signature` that of their files."""

    def __init__(self, folder: Path, *, environment: dict[str, str], signature: str) -> None:
        self._folder, self._environment, self._signature = folder, environment, signature
        self._selector = selectors.DefaultSelector()
        self._runs: dict[socket.socket, Run] = {}
        self._left_alone: set[int] = set()
        self._signals, self._signalled = socket.socketpair()
        self._listener: socket.socket | None = None

    def serve(self, *, seconds: float) -> Taken | None:
        """Until it was told to retire and its last run is over; in a fork, the run that it is."""
        self._begin(seconds)
        while self._listener is not None or self._runs or self._left_alone:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if taken := self._answer(key.fileobj):
                    return taken
        return None

    def _begin(self, seconds: float) -> None:
        self._signals.setblocking(False)
        self._signalled.setblocking(False)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._listener = listen(self._folder)
        for source in (self._signals, self._listener):
            self._selector.register(source, selectors.EVENT_READ)
        memory = int(psutil.Process().memory_full_info().uss)
        tell_ready(self._folder, Ready(pid=os.getpid(), seconds=round(seconds, 2), memory_bytes=memory, modules=len(sys.modules)))

    def _answer(self, source: socket.socket) -> Taken | None:
        if source is self._listener:
            return self._meet(source.accept()[0])
        if source is self._signals:
            if signal.SIGTERM in source.recv(4096):
                self._retire()
            self._look_for_ends()
        elif source in self._runs:
            self._left(source)
        return None

    def _meet(self, agent: socket.socket) -> Taken | None:
        agent.settimeout(PATIENCE_SECONDS)
        files: list[int] = []
        try:
            message, files, _, _ = socket.recv_fds(agent, MESSAGE_BYTES, FILES)
            start = Start.model_validate_json(message)
            if why := self._why_not(start, files):
                tell(agent, Refused(why=why))
            elif taken := self._fork(start, agent, files):
                return taken
        except (OSError, ValueError):  # it went away, or speaks another language
            pass
        for file in files:
            os.close(file)
        if agent not in self._runs:
            agent.close()
        return None

    def _why_not(self, start: Start, files: list[int]) -> str:
        if start.signature != self._signature:
            return "its files have changed since it imported them"
        if names := differing(start.environment, self._environment):
            return f"it was started with another {', '.join(names[:5])}"
        if len(files) != FILES:
            return "the run came without its files"
        return why_not_forkable()

    def _fork(self, start: Start, agent: socket.socket, files: list[int]) -> Taken | None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            agent.close()
            self._leave_behind()
            return Taken(start, output=files[0], lifeline=files[1], standby=parent, given=self._environment)
        self._runs[agent] = Run(pid)
        self._selector.register(agent, selectors.EVENT_READ)
        tell(agent, Started(pid=pid))
        return None

    def _leave_behind(self) -> None:
        """A fork that kept the sockets of other runs would hide from their agents that they ended."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        for each in (self._signals, self._signalled, self._listener, *self._runs):
            if each is not None:
                each.close()

    def _look_for_ends(self) -> None:
        """Told, but not reaped: until the agent has let go, the number stays that of its run, and no signal meets a stranger."""
        self._left_alone -= {pid for pid in self._left_alone if os.waitpid(pid, os.WNOHANG)[0]}
        for agent, run in self._runs.items():
            if not run.has_ended and (code := exit_code(run.pid)) is not None:
                run.has_ended = True
                tell(agent, Ended(code=code))

    def _left(self, agent: socket.socket) -> None:
        """The agent let go of its run, or is gone."""
        run = self._runs.pop(agent)
        self._selector.unregister(agent)
        agent.close()
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it has no session yet
            os.kill(run.pid, signal.SIGKILL)
        self._left_alone.add(run.pid)  # a driver may take its time to let go of a GPU
        self._look_for_ends()

    def _retire(self) -> None:
        """Takes no new run; those that it has go on."""
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None


def listen(folder: Path) -> socket.socket:
    """By way of the folder's descriptor: the path of a Unix socket may have 107 characters, and that of a data folder more."""
    (folder / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{place}/{SOCKET}")
    finally:
        os.close(place)
    (folder / SOCKET).chmod(0o600)
    listener.listen(64)
    return listener


def tell_ready(folder: Path, ready: Ready) -> None:
    part = folder / f".{READY}.{os.getpid()}"
    part.write_text(ready.model_dump_json() + "\n")
    part.replace(folder / READY)


def tell(agent: socket.socket, message: Spoken) -> None:
    with suppress(OSError):  # it is gone, and its socket says so in a moment
        agent.send(message.model_dump_json().encode())


def exit_code(pid: int) -> int | None:
    """Leaves the process where it is."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return int(found.si_status) if found.si_code == os.CLD_EXITED else -int(found.si_status)
