"""The supervisor's slots: a Celery worker each, started again when it ends, with a pause that grows."""

import logging
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from worker.agent.children import code_path, end_marked, module_command, tied
from worker.agent.foreign import forget_use
from worker.agent.membership import Membership
from worker.agent.slot import DATA_VARIABLE, GPUS_VARIABLE, SLOT_VARIABLE, slot_lock

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 30.0
SETTLED_SECONDS = 20.0
ASKING_SECONDS = 60.0


class SlotProcess:
    def __init__(self, data: Path, number: int, *, membership: Membership, gpus: tuple[str, ...]) -> None:
        self._data, self.number, self._membership, self._gpus = data, number, membership, gpus
        self._process: subprocess.Popen[bytes] | None = None
        self._started, self._not_before, self._pause = 0.0, 0.0, 0.0
        self._has_celery, self._celery_fails, self._wants_restart = False, False, False

    def tend(self) -> None:
        """Called every moment: starts the process when it should run and does not."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode)
        if self._process is None and time.monotonic() >= self._not_before:
            self._start()
        elif self._wants_restart:
            self._restart_when_idle()

    def follow(self, membership: Membership) -> None:
        """Redis moved: the slot listens to the new one as soon as it has nothing to do."""
        self._membership, self._wants_restart, self._celery_fails = membership, True, False

    def stop(self) -> None:
        """At once, with everything below: the lease ends, and the job is given out again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._sweep()

    def stop_when_idle(self) -> bool:
        """Whether it has stopped: a slot that works is left alone. With the lock in our hands it cannot claim."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            return True
        with slot_lock(self._data, self.number, wait=False) as is_idle:
            if is_idle:
                self.stop()
        return is_idle

    def _sweep(self) -> None:
        end_marked(f"{self._data}#{self.number}")
        forget_use(self._data, self.number)

    def _start(self) -> None:
        self._has_celery = bool(self._membership.broker_url) and not self._celery_fails
        command = self._celery_command() if self._has_celery else self._asking_command()
        self._process = subprocess.Popen(
            tied(command),
            cwd=self._data,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, and it ends the slots
        )
        self._started = time.monotonic()
        logger.debug("Slot %s: %s", self.number, shlex.join(command))

    def _celery_command(self) -> list[str]:
        options = ["--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
        options += ["--without-heartbeat", "--disable-prefetch", "-Q", self._membership.queue]
        options += ["-n", f"{self._membership.name}-{self.number}@nibble"]
        return module_command("celery", "-A", "worker.celeryapp", "--quiet", "worker", *options)

    def _asking_command(self) -> list[str]:
        """Without Redis, or where Celery does not start: ask every few seconds, and try Celery again after a minute."""
        limit = ["--seconds", f"{ASKING_SECONDS:g}"] if self._membership.broker_url else []
        return module_command("worker.agent", "slot", *limit)

    def _environment(self) -> dict[str, str]:
        extra = {DATA_VARIABLE: str(self._data), SLOT_VARIABLE: str(self.number), "PYTHONPATH": code_path()}
        if self._gpus:
            extra |= {GPUS_VARIABLE: ",".join(self._gpus), "CUDA_VISIBLE_DEVICES": self._gpus[self.number % len(self._gpus)]}
        return {**os.environ, **extra}

    def _ended(self, code: int) -> None:
        self._sweep()
        self._process = None
        lived = time.monotonic() - self._started
        self._celery_fails = self._has_celery and lived < SETTLED_SECONDS and code >= 0
        if not self._has_celery and code == 0:
            self._pause = 0.0
            return
        self._pause = 1.0 if lived > SETTLED_SECONDS else min(LONGEST_PAUSE, max(1.0, self._pause * 2))
        self._not_before = time.monotonic() + self._pause
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        then = "asks for work without Celery for a minute" if self._celery_fails else "starts again"
        logger.error("The process of slot %s ended with %s; it %s in %g s.", self.number, how, then, self._pause)

    def _restart_when_idle(self) -> None:
        if self.stop_when_idle():
            self._wants_restart = False
