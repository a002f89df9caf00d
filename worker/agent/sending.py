"""Sends checkpoints to the dashboard beside training, so that a job goes on elsewhere when this machine is gone.

A thread of its own: events and the lease never wait for gigabytes. The newest whole checkpoint goes first; older ones are skipped.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from worker.agent.checkpoints import Checkpoint, TornCheckpoint, files_of, newest_in, newest_step
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.pace import Pace
from worker.agent.waiting import Check
from worker.contract.orders import ArtifactFile, CheckpointUploaded, Order, WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.linking import link_or_copy

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 10.0
TRIES = 3  # answers like "wrong hash" or "internal error" to one checkpoint; then the next one is waited for
UNKNOWN_PATH = (404, 405)


class CheckpointSender(threading.Thread):
    """`warn` writes a line into the job's log. `sent_step` is the newest that the dashboard has."""

    def __init__(self, door: Door, *, order: WorkOrder, run: RunDirectory, pace: Pace, warn: Callable[[str], None]) -> None:
        super().__init__(name=f"checkpoints-{order.attempt_id}", daemon=True)
        self._door, self._order, self._run_directory, self._pace, self._warn = door, order, run, pace, warn
        self.sent_step = order.resume.step if order.resume else 0
        self._done_step = self.sent_step
        """Sent, or given up."""
        self._outbox = run.path / "outbox"
        self._held_step, self._files, self._there = 0, tuple[ArtifactFile, ...](), set[str]()
        self._troubles, self._delay = 0, 0.0
        self._wake, self._ending = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            self._turn()
            self._wake.wait(max(self._delay, self._pace.batch_seconds))
            self._wake.clear()

    def complete(self, *, until: float, check: Check) -> int:
        """Waits until the newest checkpoint is sent, cannot be, or it is time to go. Returns the newest step sent."""
        self._wake.set()
        while newest_step(self._run_directory.checkpoints) > self._done_step and self.is_alive() and time.monotonic() < until:
            check()
            time.sleep(0.02)
        return self.sent_step

    def close(self) -> None:
        """A file on its way is not waited for: the thread ends with the process at the latest."""
        self._ending.set()
        self._wake.set()
        if self.is_alive():
            self.join(1)

    def _turn(self) -> None:
        newest = newest_in(self._run_directory.checkpoints)
        if newest is None or newest.step <= self._done_step:
            return
        try:
            self._hold(newest)
            self._send(newest.step)
        except FileNotFoundError:  # rotated away before it was held; there is a newer one
            self._let_go()
        except TornCheckpoint as torn:
            self._give_up(str(torn))
        except DoorAway as away:
            self._trouble(f"the dashboard answers {away}" if away.status == 500 else "")
        except DoorRefused as refusal:
            self._refused(refusal)
        except Exception as error:  # whoever waits for this checkpoint must not wait for ever
            if not self._ending.is_set():  # else the door was closed under us
                logger.exception("Sending a checkpoint of attempt %s", self._order.attempt_id)
                self._give_up(repr(error))
        else:
            logger.debug("Checkpoint %s of attempt %s is on the dashboard.", newest.step, self._order.attempt_id)
            self.sent_step = newest.step
            self._done()

    def _hold(self, checkpoint: Checkpoint) -> None:
        """Hard links: the trainer may rotate the checkpoint away while it is on its way."""
        if self._held_step == checkpoint.step:
            return
        self._let_go()
        self._held_step = checkpoint.step
        _link_all(checkpoint.path, self._outbox)
        self._files = files_of(self._outbox)

    def _send(self, step: int) -> None:
        """A file that arrived is not sent again after an outage."""
        base = f"attempts/{self._order.attempt_id}/checkpoints"
        for file in self._files:
            if file.name not in self._there and not self._ending.is_set():
                query: dict[str, str | int] = {"fence": self._order.fence, "sha256": file.sha256}
                self._door.put_file(f"{base}/{step}/{file.name}", self._outbox / file.name, query=query)
                self._there.add(file.name)
        self._door.post(base, CheckpointUploaded(fence=self._order.fence, step=step, files=self._files), reply=Order)

    def _refused(self, refusal: DoorRefused) -> None:
        if refusal.is_not_ours:
            self._ending.set()
        elif refusal.status in UNKNOWN_PATH and not refusal.code:
            logger.warning("This dashboard takes no checkpoints; the job starts from the beginning if this machine is lost.")
            self._ending.set()
        elif refusal.code in ("wrong_hash", "file_missing"):
            self._there.clear()
            self._trouble(str(refusal))
        else:
            self._give_up(str(refusal))

    def _trouble(self, why: str) -> None:
        """Without a reason: the dashboard is away, and is waited for."""
        self._troubles += bool(why)
        self._delay = min(LONGEST_PAUSE, max(1.0, self._delay * 2))
        if self._troubles >= TRIES:
            self._give_up(why)

    def _give_up(self, why: str) -> None:
        if not self._ending.is_set():
            self._warn(f"The checkpoint of step {self._held_step} stays on the worker: {why}"[:2000])
        self._done()

    def _done(self) -> None:
        self._done_step = self._held_step
        self._let_go()

    def _let_go(self) -> None:
        self._held_step, self._files, self._troubles, self._delay = 0, (), 0, 0.0
        self._there.clear()
        shutil.rmtree(self._outbox, ignore_errors=True)


def _link_all(folder: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for path in folder.iterdir():
        if path.is_dir():
            raise TornCheckpoint(f"{path.name} is no plain file")
        link_or_copy(path, to / path.name)
