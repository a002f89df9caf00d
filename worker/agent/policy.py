"""What the administrator set for the machines of this pool, as the last heartbeat told it; kept for starts without a dashboard."""

import os
from pathlib import Path

from pydantic import ValidationError

from worker.contract.orders import HostPolicy

FILE = "policy.json"


def load_policy(data: Path, *, slots: int) -> HostPolicy:
    """Before the first heartbeat, and with a dashboard that tells none: what a new pool has."""
    try:
        return HostPolicy.model_validate_json((data / FILE).read_bytes())
    except (OSError, ValidationError):
        return HostPolicy(slots=slots, offline_limit_seconds=15 * 60, min_free_disk_bytes=2 * 2**30, keep_runs_days=7)


def save_policy(data: Path, policy: HostPolicy) -> None:
    part = data / f".{FILE}.{os.getpid()}"
    part.write_text(policy.model_dump_json(indent=1) + "\n")
    part.replace(data / FILE)
