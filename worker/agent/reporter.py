"""Posts an attempt's events and takes the order back, once a second at most and every five seconds at least.

A thread of its own from claim to finish: the lease must not run out while a model is downloaded or an adapter uploaded.
"""

import logging
import threading
import time
from typing import Literal

from worker.agent.event_lines import EventLines
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.pace import Pace
from worker.agent.waiting import Check, go_on
from worker.contract.events import LogWritten
from worker.contract.orders import MAX_BATCH_EVENTS, EventBatch, Order, WorkOrder
from worker.contract.run_directory import RunDirectory

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 1 / 6  # of the lease, 5 s of 30: after an outage each worker must be heard of within one lease
Wish = Literal["continue", "pause", "stop_and_save", "stop_and_discard"]


class Reporter(threading.Thread):
    def __init__(self, door: Door, *, order: WorkOrder, run: RunDirectory, pace: Pace) -> None:
        super().__init__(name=f"reporter-{order.attempt_id}", daemon=True)
        self._door, self._order, self._run_directory, self._pace = door, order, run, pace
        self._lines = EventLines(run.events)
        self._lock, self._wake, self._ending = threading.Lock(), threading.Event(), threading.Event()
        self._posted, self._pause, self._most = 0.0, 0.0, MAX_BATCH_EVENTS
        self._longest_pause = order.lease_seconds * LONGEST_PAUSE
        self._away_since: float | None = None
        self.acked = 0
        self.wish: Wish = "continue"
        self.is_finishing = False
        """The end is being said; from now on the attempt may be closed at any moment, and that is no news."""
        self.is_lost = False
        """The attempt is not ours any more: closed, given away, or this worker was revoked."""
        self.news = threading.Event()
        """Set when the wish changed or the attempt was lost."""

    def run(self) -> None:
        while not self._ending.is_set() and not self.is_lost:
            try:
                self._turn()
            except Exception:  # the thread that holds the lease must live
                logger.exception("Posting events of attempt %s", self._order.attempt_id)
                self._pause = self._longest_pause
            self._wake.wait(max(self._pause, 0.05))
            self._wake.clear()

    @property
    def away_seconds(self) -> float:
        """Since the first post that the dashboard did not answer; 0 while it answers."""
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def settle(self, check: Check = go_on) -> int:
        """Waits until every line written so far is stored, or the attempt is lost. Returns the number of lines."""
        with self._lock:
            target = self._lines.look()
        self._wake.set()
        while self.acked < target and not self.is_lost:
            check()
            time.sleep(0.02)
        return target

    def close(self) -> None:
        self._ending.set()
        self._wake.set()
        self.join(15)

    def _turn(self) -> None:
        self._run_directory.alive.touch()
        with self._lock:
            waiting = self._lines.look() - self.acked
        silent = time.monotonic() - self._posted
        if waiting or silent >= self._pace.heartbeat_seconds:
            self._post()
            waiting -= self._most
        # A full batch left over (after an outage, or at the end of a chatty run) is sent on at once.
        self._pause = max(self._pause, 0.0 if waiting > 0 else self._pace.batch_seconds)

    def _post(self) -> None:
        with self._lock:
            events = self._lines.batch(self.acked + 1, most=self._most)
        batch = EventBatch(fence=self._order.fence, first_seq=self.acked + 1, events=events)
        try:
            reply = self._door.post(f"attempts/{self._order.attempt_id}/events", batch, reply=Order)
        except DoorAway as away:
            self._say_away(away)
        except DoorRefused as refusal:
            self._refused(refusal, batch)
        else:
            assert reply is not None
            self._obey(reply)

    def _obey(self, reply: Order) -> None:
        if self._away_since is not None:
            logger.info("The dashboard answers again; attempt %s goes on.", self._order.attempt_id)
        self._away_since, self._pause, self._posted = None, 0.0, time.monotonic()
        self._most = min(MAX_BATCH_EVENTS, self._most * 2)
        self.acked = reply.acked_seq
        if reply.order != self.wish:
            self.wish = reply.order
            self.news.set()

    def _say_away(self, away: DoorAway) -> None:
        if self._away_since is None:
            logger.warning("The dashboard is away (%s). Training goes on; events wait in %s.", away, self._run_directory.events)
            self._away_since = time.monotonic()
        self._pause = min(self._longest_pause, max(1.0, self._pause * 2))

    def _refused(self, refusal: DoorRefused, batch: EventBatch) -> None:
        if refusal.is_not_ours:
            if not self.is_finishing:
                logger.warning("Attempt %s is not ours any more: %s", self._order.attempt_id, refusal)
            self.is_lost = True
            self.news.set()
            return
        logger.error("The dashboard refused lines %s to %s: %s", batch.first_seq, batch.first_seq + len(batch.events) - 1, refusal)
        self._pause = 1.0
        if len(batch.events) > 1:  # find the line at fault by halves
            self._most = max(1, len(batch.events) // 2)
        elif batch.events:
            self._replace(batch, refusal)

    def _replace(self, batch: EventBatch, refusal: DoorRefused) -> None:
        """One line that the dashboard will never take must not hold up those behind it."""
        notice = LogWritten(
            level="warning", text=f"The dashboard refused line {batch.first_seq} ({batch.events[0].kind}): {refusal}"[:2000]
        )
        reply = self._door.post(
            f"attempts/{self._order.attempt_id}/events", batch.model_copy(update={"events": (notice,)}), reply=Order
        )
        assert reply is not None
        self._obey(reply)
