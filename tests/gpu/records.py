"""The record that each script here leaves: when and on which card, then its figures. One form, so that two can be compared."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def keep(path: Path, **figures: Any) -> None:
    """Written after each run, over what was there: one that is cut off leaves the figures until then."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"date": date, "card": card(), "python": sys.version.split()[0], **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def card() -> str:
    """Name, driver and memory as the driver says, a line for each card; empty without one."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
