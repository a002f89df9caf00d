"""One ./start a data folder: a locked file that says where the running one answers. The lock goes with its process."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webapp.launcher.refusals import CannotStart


def lock_file(data: Path) -> Path:
    return data / "start.lock"


@contextmanager
def only_one(data: Path, *, address: str) -> Iterator[None]:
    """Raises CannotStart with the address of the one that runs already."""
    descriptor = os.open(lock_file(data), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"process": os.getpid(), "address": address}).encode(), 0)
    except BlockingIOError:
        os.close(descriptor)
        running = _written(data)
        raise CannotStart(
            f"Nibble already runs on this data folder: {running.get('address', 'it is just starting')} (process "
            f"{running.get('process', 'unknown')}). Stop it there with Ctrl-C, or choose another folder and port: "
            "./start --data FOLDER --port PORT"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def running_address(data: Path) -> str:
    """Where the ./start of this data folder answers; empty if none runs."""
    try:
        descriptor = os.open(lock_file(data), os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(_written(data).get("address", ""))
    finally:
        os.close(descriptor)
    return ""


def _written(data: Path) -> dict[str, object]:
    try:
        read = json.loads(lock_file(data).read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
