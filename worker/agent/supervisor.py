"""The one process of a host that always runs: heartbeat, slots, looking at models. It ends when its token is revoked.

SIGTERM or Ctrl-C drains: nothing new is claimed, what runs saves a checkpoint and goes back to the queue. A second one ends all at once.
"""

import fcntl
import logging
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from worker.agent import membership as memberships
from worker.agent.draining import draining_until, start_draining, stop_draining
from worker.agent.foreign import ForeignMemory
from worker.agent.host import gpu_reports, host_report, versions
from worker.agent.housekeeping import Housekeeper, disk_in_words
from worker.agent.inspector import Inspector
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.pace import Pace
from worker.agent.policy import load_policy, save_policy
from worker.agent.slot_processes import SlotProcess
from worker.agent.standby import Standby
from worker.contract.orders import Heartbeat, HeartbeatReply, HostPolicy, HostReport

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 20.0
TEND_SECONDS = 0.2
OVERTIME_SECONDS = 2.0  # for slots that are just saying how their attempt ended
REVOKED, TOO_NEW = 3, 4


class Supervisor:
    def __init__(self, data: Path, *, membership: memberships.Membership, door: Door, pace: Pace) -> None:
        self._data, self._membership, self._door, self._pace = data, membership, door, pace
        self._leaving = 0
        self._is_knocking = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_leave)
        self._gpus = tuple(gpu.uuid for gpu in gpu_reports())
        self._policy = load_policy(data, slots=membership.slots)
        self._slots: list[SlotProcess] = []
        self._surplus: list[SlotProcess] = []
        self._set_slots(self._policy.slots)
        self._inspector = Inspector(data, url=membership.url, token=membership.worker_token)
        self._housekeeper = Housekeeper(data, slots=membership.slots, pace=pace)
        self._foreign = ForeignMemory(data)
        self._standby = Standby(data)
        self._versions = versions()
        self._is_away, self._wait, self._state = False, 0.0, ""
        self._told: dict[str, str] = {}

    def run(self) -> NoReturn:
        try:
            self._inspector.start()
            self._housekeeper.start()
            with suppress(_Leaving):
                self._work()
            self._drain()
        finally:
            for slot in (*self._slots, *self._surplus):
                slot.stop()
            self._standby.stop()
            self._inspector.stop()

    def _work(self) -> None:
        next_beat = 0.0
        while not self._leaving:
            if time.monotonic() >= next_beat:
                self._beat()
                next_beat = time.monotonic() + self._wait
            for slot in self._slots:
                slot.tend()
            self._surplus = [slot for slot in self._surplus if not slot.stop_when_idle()]
            self._standby.tend()
            time.sleep(TEND_SECONDS)

    def _asked_to_leave(self, number: int, frame: FrameType | None) -> None:
        if self._leaving:
            for again in (signal.SIGTERM, signal.SIGINT):
                signal.signal(again, signal.SIG_IGN)  # a third one must not leave slots behind
            logger.warning("Ending everything at once: %s again.", signal.Signals(number).name)
            sys.exit(128 + number)
        self._leaving = number
        seconds = self._pace.drain_seconds
        logger.info("Stopping: %s. What runs is saved and given back within %g s.", signal.Signals(number).name, seconds)
        try:
            start_draining(self._data, seconds=seconds)
        except OSError:  # a full disk: nothing could be saved either
            sys.exit(0)
        if self._is_knocking:  # a dashboard that does not answer must not hold us up
            raise _Leaving

    def _drain(self) -> NoReturn:
        """The slots see the word themselves; those that have nothing to do any more are stopped."""
        until = (draining_until(self._data) or 0.0) + OVERTIME_SECONDS
        left = [*self._slots, *self._surplus]
        while (left := [slot for slot in left if not slot.stop_when_idle()]) and time.monotonic() < until:
            time.sleep(TEND_SECONDS / 4)
        if left:
            logger.warning(
                "%s did not finish in time and end now; their jobs go on from their last checkpoints.", _slots(len(left))
            )
        sys.exit(0)

    def _beat(self) -> None:
        gpus = self._foreign.look(gpu_reports())
        host = host_report(self._data, gpus=gpus, kept=self._housekeeper.kept)
        self._tell_of_shortages(host)
        try:
            reply = self._knock(Heartbeat(host=host, versions=self._versions))
        except DoorAway as away:
            self._away(away)
        except DoorRefused as refusal:
            self._refused(refusal)
        else:
            assert reply is not None
            self._heard(reply)

    def _knock(self, beat: Heartbeat) -> HeartbeatReply | None:
        self._is_knocking = True
        try:
            return self._door.post("heartbeat", beat, reply=HeartbeatReply)
        finally:
            self._is_knocking = False

    def _tell_of_shortages(self, host: HostReport) -> None:
        self._tell("disk", disk_in_words(host.disk_free_bytes, self._policy))
        for gpu in host.gpus:
            held, total = gpu.foreign_used_bytes or 0, gpu.memory_total_bytes
            text = f"GPU {gpu.index}: {held / 1e9:.1f} of {total / 1e9:.1f} GB taken by another process; its slots take no job."
            self._tell(gpu.uuid, text if held else "")

    def _tell(self, about: str, text: str) -> None:
        """Once until it changes; numbers may differ."""
        kind = re.sub(r"[\d.]+", "", text)
        if kind and kind != self._told.get(about):
            logger.warning("%s", text)
        self._told[about] = kind

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
        if reply.policy is not None and reply.policy != self._policy:
            self._apply(reply.policy)
        if reply.broker_url and reply.broker_url != self._membership.broker_url and not memberships.broker_is_given():
            self._follow(reply.broker_url)

    def _apply(self, policy: HostPolicy) -> None:
        save_policy(self._data, policy)
        if policy.slots != self._policy.slots:
            logger.info("The pool gives this worker %s now.", _slots(policy.slots))
            self._set_slots(policy.slots)
        self._policy = policy

    def _set_slots(self, number: int) -> None:
        """One that is too many finishes its job; one that comes back while it does is the same process."""
        known = {slot.number: slot for slot in (*self._slots, *self._surplus)}
        wanted = [known.pop(n) if n in known else self._new_slot(n) for n in range(number)]
        self._slots, self._surplus = wanted, list(known.values())

    def _new_slot(self, number: int) -> SlotProcess:
        return SlotProcess(self._data, number, membership=self._membership, gpus=self._gpus)

    def _follow(self, broker_url: str) -> None:
        logger.info("The dashboard's Redis has another address now; the slots follow it.")
        self._membership = self._membership.model_copy(update={"broker_url": broker_url})
        memberships.save(self._data, self._membership)
        for slot in (*self._slots, *self._surplus):
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
        stop_draining(data)
        slots = _slots(load_policy(data, slots=membership.slots).slots)
        logger.info("Worker %s of pool %s at %s: %s. Ctrl-C stops it.", membership.name, membership.pool, membership.url, slots)
        with Door(membership.url, membership.worker_token) as door:
            Supervisor(data, membership=membership, door=door, pace=Pace.from_environment()).run()


class _Leaving(BaseException):
    """Out of a heartbeat that hangs."""


def _slots(number: int) -> str:
    return f"{number} slot{'s' * (number != 1)}"


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    with (data / "agent.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"A worker runs in {data} already. One data folder, one worker.") from None
        yield
