"""One slot of this machine: it runs one attempt at a time, whoever wakes it (a ring, or its own clock)."""

import fcntl
import json
import logging
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from worker.agent.attempt import Attempt
from worker.agent.draining import is_draining
from worker.agent.ends import disk_failure
from worker.agent.finishing import finish
from worker.agent.foreign import is_taken, uses_gpus
from worker.agent.host import free_memory_bytes, gpu_of
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.membership import Membership, load
from worker.agent.pace import Pace
from worker.agent.policy import load_policy
from worker.contract import PROTOCOL
from worker.contract.orders import Claim, Failed, Finish, HostPolicy, WorkOrder
from worker.contract.vram.estimate import CONTEXT_BYTES, GRAPHS_BYTES

logger = logging.getLogger(__name__)
LEAST = 2**28  # bytes: 0 would mean no limit
DATA_VARIABLE, SLOT_VARIABLE, GPUS_VARIABLE = "NIBBLE_AGENT_DATA", "NIBBLE_AGENT_SLOT", "NIBBLE_AGENT_GPUS"


@dataclass(frozen=True)
class Slot:
    data: Path
    number: int
    gpus: tuple[str, ...]
    """Uuids of the GPUs of this host, which the slots take in turn; none on a CPU."""
    membership: Membership
    pace: Pace

    @classmethod
    def from_environment(cls) -> "Slot":
        """As the supervisor set it up."""
        data = Path(os.environ[DATA_VARIABLE])
        gpus = tuple(filter(None, os.environ.get(GPUS_VARIABLE, "").split(",")))
        return cls(data, int(os.environ[SLOT_VARIABLE]), gpus, load(data), Pace.from_environment())

    @property
    def gpu_uuid(self) -> str | None:
        return self.gpus[self.number % len(self.gpus)] if self.gpus else None

    def memory_share(self, slots: int) -> float | None:
        """GiB of its GPU that a job may plan with when others share it: an even part, less what CUDA itself takes for each process.

        A plan fills what it is given.
        """
        sharing = -(-slots // len(self.gpus)) if self.gpus else 1
        gpu = gpu_of(self.gpu_uuid) if sharing > 1 else None
        return max(gpu.memory_total_bytes / sharing - CONTEXT_BYTES - GRAPHS_BYTES, LEAST) / 2**30 if gpu else None

    def gpus_of(self, slots: tuple[int, ...]) -> tuple[str, ...]:
        """Those that the trainer may see; slots that share a GPU name it once."""
        return tuple(dict.fromkeys(self.gpus[slot % len(self.gpus)] for slot in slots)) if self.gpus else ()

    @property
    def mark(self) -> str:
        return f"{self.data}#{self.number}"

    def work_until_empty(self, *, wait: bool) -> None:
        """Claims and runs until there is nothing to do. Without `wait`: not at all if the slot is busy."""
        with slot_lock(self.data, self.number, wait=wait) as is_mine:
            while is_mine and self._work_once():
                pass

    def poll(self, *, seconds: float = float("inf")) -> None:
        """Asks every few seconds: a lost ring, or a Redis that is away, delays work and never loses it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.work_until_empty(wait=False)
            except Exception:
                logger.exception("Slot %s", self.number)
            time.sleep(self.pace.poll_seconds * random.uniform(0.8, 1.2))  # noqa: S311

    def _work_once(self) -> bool:
        policy = load_policy(self.data, slots=self.membership.slots)
        claim = self._asks(policy)
        if claim is None:
            return False
        with self._door() as door, self._door() as reporting_door, self._door() as sending_door:
            order = self._claim(door, claim)
            if order is not None:
                self._run(order, policy, (door, reporting_door, sending_door))
            return order is not None

    def _asks(self, policy: HostPolicy) -> Claim | None:
        """None while this slot should not work. The supervisor says why; a slot only waits."""
        if is_draining(self.data) or self.number >= policy.slots:
            return None
        if shutil.disk_usage(self.data).free < policy.min_free_disk_bytes:
            return None
        gpu = gpu_of(self.gpu_uuid)
        if self.gpu_uuid and (gpu is None or is_taken(gpu, data=self.data)):
            return None
        return Claim(slot=self.number, free_memory_bytes=free_memory_bytes(gpu), gpu_index=gpu.index if gpu else None)

    def _claim(self, door: Door, claim: Claim) -> WorkOrder | None:
        """The supervisor tells people when the dashboard is away or refuses this worker; a slot only waits."""
        try:
            raw = door.post_raw("claim", claim)
        except (DoorAway, DoorRefused) as error:
            logger.debug("No claim: %s", error)
            return None
        if raw is None:
            return None
        order = _read_order(raw)
        if order is None:
            _hand_back(door, raw)
        return order

    def _run(self, order: WorkOrder, policy: HostPolicy, doors: tuple[Door, Door, Door]) -> None:
        gpus, (door, reporting, sending) = self.gpus_of(order.slots), doors
        try:
            with uses_gpus(self.data, self.number, gpus):
                Attempt(
                    order,
                    door=door,
                    reporting_door=reporting,
                    sending_door=sending,
                    data=self.data,
                    pace=self.pace,
                    policy=policy,
                    mark=self.mark,
                    gpus=gpus,
                    memory_gib=self.memory_share(policy.slots),
                ).run()
        except OSError as error:
            logger.exception("Attempt %s", order.attempt_id)
            failure = disk_failure(error)
            end = Failed(cause=failure.cause, message=failure.message, advice=failure.advice)
            finish(door, attempt_id=order.attempt_id, message=Finish(fence=order.fence, last_seq=0, end=end))

    def _door(self) -> Door:
        return Door(self.membership.url, self.membership.worker_token)


def _read_order(raw: bytes) -> WorkOrder | None:
    """None for the order of a newer dashboard."""
    try:
        order = WorkOrder.model_validate_json(raw)
    except ValidationError as error:
        logger.error("This worker does not understand a work order of its dashboard: %s", error)
        return None
    return order if order.protocol <= PROTOCOL else None


def _hand_back(door: Door, raw: bytes) -> None:
    """The job fails with a sentence instead of waiting for its lease."""
    try:
        order = json.loads(raw)
        number, fence = int(order["attempt_id"]), int(order["fence"])
    except (ValueError, KeyError, TypeError):
        return
    end = Failed(
        cause="internal",
        message="The worker does not understand this job: the dashboard is newer than the worker.",
        advice="Update the worker with the join command of Pools & workers, then clone the job.",
    )
    finish(door, attempt_id=number, message=Finish(fence=fence, last_seq=0, end=end))


@contextmanager
def slot_lock(data: Path, number: int, *, wait: bool) -> Iterator[bool]:
    """Held while a slot claims or works; a process that dies lets go of it. Yields whether it was got."""
    folder = data / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / str(number)).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
