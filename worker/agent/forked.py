"""A trainer as a fork of the standby, which is its parent: told by a socket how it ended, and tied to us by a pipe."""

import os
import select
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from worker.agent.children import Child
from worker.agent.libraries import signature
from worker.agent.log_lines import LogSink
from worker.contract.standby import MESSAGE_BYTES, READY, SOCKET, Ended, Ready, Refused, Spoken, Start, Started, reply_of

ANSWER_SECONDS = 3.0  # a fork takes some 20 ms; on a machine that stands still a new process is started instead


class NoStandby(Exception):
    """Says why not, as the end of a sentence."""


def standby_folder(data: Path) -> Path:
    return data / "standby"


def ready_standby(data: Path) -> Ready | None:
    """As it told when it was ready; it may have died since."""
    try:
        return Ready.model_validate_json((standby_folder(data) / READY).read_bytes())
    except (OSError, ValueError):
        return None


class Forked(Child):
    def __init__(self, agent: socket.socket, pid: int, *, output: int, lifeline: int, mark: str, log: LogSink) -> None:
        self._agent, self._pid, self._lifeline, self._code = agent, pid, lifeline, None
        super().__init__(output, mark=mark, log=log)

    _code: int | None

    @property
    def pid(self) -> int:
        return self._pid

    def exit_code(self, *, within: float = 0.0) -> int | None:
        """A standby that is gone took its runs with it."""
        if self._code is None and select.select([self._agent], [], [], within)[0]:
            told = hear(self._agent)
            self._code = told.code if isinstance(told, Ended) else -signal.SIGKILL
        return self._code

    def _reap(self) -> None:
        """Until the standby hears that we let go, the number stays that of this run. A frozen standby is not waited for."""
        self.exit_code(within=ANSWER_SECONDS)
        self._agent.close()
        os.close(self._lifeline)


def fork(run: Path, *, environment: Mapping[str, str], mark: str, log: LogSink, data: Path) -> Forked:
    """Raises NoStandby where none is ready for this run."""
    start = Start(run=run, environment={**environment}, mark=mark, signature=signature())
    agent = knock(standby_folder(data))
    output, writes = os.pipe()
    held, lifeline = os.pipe()
    try:
        answer = ask(agent, start, files=[writes, held])
        if not isinstance(answer, Started):
            raise NoStandby(answer.why if isinstance(answer, Refused) else "it did not answer")
    except BaseException:
        for file in (output, lifeline):  # should it fork yet, the fork ends itself
            os.close(file)
        agent.close()
        raise
    finally:
        os.close(writes)
        os.close(held)
    return Forked(agent, answer.pid, output=output, lifeline=lifeline, mark=mark, log=log)


def knock(folder: Path) -> socket.socket:
    """By way of the folder's descriptor: the path of a Unix socket may have 107 characters, and that of a data folder more."""
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    agent.settimeout(ANSWER_SECONDS)
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            agent.connect(f"/proc/self/fd/{place}/{SOCKET}")
        finally:
            os.close(place)
    except OSError:
        agent.close()
        raise NoStandby("it is not ready") from None
    return agent


def ask(agent: socket.socket, start: Start, *, files: list[int]) -> Spoken | None:
    try:
        socket.send_fds(agent, [start.model_dump_json().encode()], files)
        return hear(agent)
    except OSError:
        return None


def hear(agent: socket.socket) -> Spoken | None:
    """None from a standby that is gone, or that speaks another language."""
    try:
        message = agent.recv(MESSAGE_BYTES)
        return reply_of.validate_json(message)
    except (OSError, ValueError):
        return None
