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
    kept_runs: int = 20
    """Run directories whose events and orders stay for a look."""

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            heartbeat_seconds=_number("NIBBLE_HEARTBEAT_SECONDS", cls.heartbeat_seconds),
            batch_seconds=_number("NIBBLE_BATCH_SECONDS", cls.batch_seconds),
            poll_seconds=_number("NIBBLE_POLL_SECONDS", cls.poll_seconds),
            stop_seconds=_number("NIBBLE_STOP_SECONDS", cls.stop_seconds),
            discard_seconds=_number("NIBBLE_DISCARD_SECONDS", cls.discard_seconds),
            grace_seconds=_number("NIBBLE_GRACE_SECONDS", cls.grace_seconds),
            kept_runs=int(_number("NIBBLE_KEPT_RUNS", cls.kept_runs)),
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
