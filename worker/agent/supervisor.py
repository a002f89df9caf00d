"""The one process of a host that always runs: heartbeat, slots, looking at models. It ends when its token is revoked."""

import fcntl
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from worker.agent import membership as memberships
from worker.agent.host import gpu_reports, host_report, versions
from worker.agent.inspector import Inspector
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.pace import Pace
from worker.agent.slot_processes import SlotProcess
from worker.contract.orders import Heartbeat, HeartbeatReply

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 20.0
TEND_SECONDS = 0.2
REVOKED, TOO_NEW = 3, 4


class Supervisor:
    def __init__(self, data: Path, *, membership: memberships.Membership, door: Door, pace: Pace) -> None:
        self._data, self._membership, self._door, self._pace = data, membership, door, pace
        found = gpu_reports()
        gpus = tuple(found[n % len(found)].uuid for n in range(membership.slots)) if found else ()
        self._slots = [SlotProcess(data, n, membership=membership, gpus=gpus) for n in range(membership.slots)]
        self._inspector = Inspector(data, url=membership.url, token=membership.worker_token)
        self._versions = versions()
        self._is_away, self._wait, self._state = False, 0.0, ""

    def run(self) -> NoReturn:
        self._inspector.start()
        next_beat = 0.0
        try:
            while True:
                if time.monotonic() >= next_beat:
                    self._beat()
                    next_beat = time.monotonic() + self._wait
                for slot in self._slots:
                    slot.tend()
                time.sleep(TEND_SECONDS)
        finally:
            for slot in self._slots:
                slot.stop()
            self._inspector.stop()

    def _beat(self) -> None:
        try:
            reply = self._door.post(
                "heartbeat", Heartbeat(host=host_report(self._data), versions=self._versions), reply=HeartbeatReply
            )
        except DoorAway as away:
            self._away(away)
        except DoorRefused as refusal:
            self._refused(refusal)
        else:
            assert reply is not None
            self._heard(reply)

    def _heard(self, reply: HeartbeatReply) -> None:
        if self._is_away:
            logger.info("The dashboard at %s answers again.", self._membership.url)
        self._is_away, self._wait = False, self._pace.heartbeat_seconds
        if reply.state != self._state:
            text = {"enabled": "takes work", "draining": "finishes what it runs and takes nothing new"}[reply.state]
            logger.info("Worker %s of pool %s %s.", self._membership.name, self._membership.pool, text)
        self._state = reply.state
        for asked in reply.inspect:
            self._inspector.look_at(asked)
        if reply.broker_url and reply.broker_url != self._membership.broker_url and not memberships.broker_is_given():
            self._follow(reply.broker_url)

    def _follow(self, broker_url: str) -> None:
        logger.info("The dashboard's Redis has another address now; the slots follow it.")
        self._membership = self._membership.model_copy(update={"broker_url": broker_url})
        memberships.save(self._data, self._membership)
        for slot in self._slots:
            slot.follow(self._membership)

    def _away(self, away: DoorAway) -> None:
        if not self._is_away:
            logger.warning(
                "The dashboard at %s is away (%s). What runs goes on; trying again until it is back.", self._membership.url, away
            )
        self._is_away = True
        self._wait = min(LONGEST_PAUSE, max(self._pace.heartbeat_seconds, self._wait * 1.5))

    def _refused(self, refusal: DoorRefused) -> None:
        if refusal.is_not_ours:
            logger.error("%s", refusal)
            sys.exit(REVOKED)
        if refusal.status == 426:
            logger.error("%s", refusal)
            sys.exit(TOO_NEW)
        if not self._is_away:
            logger.error("The dashboard at %s refused the heartbeat: %s", self._membership.url, refusal)
        self._is_away, self._wait = True, LONGEST_PAUSE


def supervise(data: Path) -> NoReturn:
    membership = memberships.load(data)
    with _only_one(data):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        slots = f"{membership.slots} slot{'s' * (membership.slots != 1)}"
        logger.info("Worker %s of pool %s at %s: %s. Ctrl-C stops it.", membership.name, membership.pool, membership.url, slots)
        with Door(membership.url, membership.worker_token) as door:
            Supervisor(data, membership=membership, door=door, pace=Pace.from_environment()).run()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)  # a second Ctrl-C must not leave slots behind
    logger.info("Stopping: %s.", signal.Signals(number).name)
    sys.exit(0)


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    with (data / "agent.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"A worker runs in {data} already. One data folder, one worker.") from None
        yield
