"""How often and how long: the agent's clocks, each changeable by an environment variable (docs/configuration.md)."""

import os
from dataclasses import dataclass
from typing import Self

from worker.contract.orders import BATCH_SECONDS, HEARTBEAT_SECONDS


@dataclass(frozen=True)
class Pace:
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    batch_seconds: float = BATCH_SECONDS
    poll_seconds: float = 5.0
    """A slot that heard no ring asks for work this often."""
    stop_seconds: float = 120.0
    """Time to save after a stop; then the trainer is ended."""
    discard_seconds: float = 20.0
    """The same when nothing is to be saved."""
    grace_seconds: float = 10.0
    """Between SIGTERM and SIGKILL."""
    drain_seconds: float = 25.0
    """Between SIGTERM and exit: to save, send the checkpoint and give the job back. ./start waits 5 s longer."""
    setup_seconds: float = 900.0
    """A trainer that says nothing for so long before its first step is stalled."""
    step_seconds: float = 600.0
    """The same for a step, or ten times the median if that is longer."""
    saving_seconds: float = 600.0
    """The same for a checkpoint."""
    kept_runs: int = 20
    """Run directories whose events and orders stay for a look."""
    log_lines_per_second: int = 200
    log_lines: int = 50_000
    """Of an attempt; with log_bytes, so that no job fills the dashboard's database."""
    log_bytes: int = 32 * 2**20

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            heartbeat_seconds=_number("NIBBLE_HEARTBEAT_SECONDS", cls.heartbeat_seconds),
            batch_seconds=_number("NIBBLE_BATCH_SECONDS", cls.batch_seconds),
            poll_seconds=_number("NIBBLE_POLL_SECONDS", cls.poll_seconds),
            stop_seconds=_number("NIBBLE_STOP_SECONDS", cls.stop_seconds),
            discard_seconds=_number("NIBBLE_DISCARD_SECONDS", cls.discard_seconds),
            grace_seconds=_number("NIBBLE_GRACE_SECONDS", cls.grace_seconds),
            drain_seconds=_number("NIBBLE_DRAIN_SECONDS", cls.drain_seconds),
            setup_seconds=_number("NIBBLE_SETUP_SECONDS", cls.setup_seconds),
            step_seconds=_number("NIBBLE_STEP_SECONDS", cls.step_seconds),
            saving_seconds=_number("NIBBLE_SAVING_SECONDS", cls.saving_seconds),
            kept_runs=int(_number("NIBBLE_KEPT_RUNS", cls.kept_runs)),
            log_lines_per_second=int(_number("NIBBLE_LOG_LINES_PER_SECOND", cls.log_lines_per_second)),
            log_lines=int(_number("NIBBLE_LOG_LINES", cls.log_lines)),
            log_bytes=int(_number("NIBBLE_LOG_BYTES", cls.log_bytes)),
        )


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "").strip()
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise SystemExit(f"{name}={text!r} is not a number.") from None
    if value <= 0:
        raise SystemExit(f"{name}={text!r} is too small: it must be above 0.")
    return value
