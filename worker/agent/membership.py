"""worker.json: which dashboard and pool this data folder belongs to. It holds the worker's token: readable by its owner only."""

import json
import os
from pathlib import Path

from pydantic import Field, ValidationError

from worker.contract.message import Message

FILE = "worker.json"


class NotJoined(Exception):
    def __init__(self, data: Path) -> None:
        super().__init__(f"{data} has not joined a dashboard yet. An administrator finds the command on Pools & workers.")


class JoinedAlready(Exception):
    def __init__(self, data: Path, url: str) -> None:
        super().__init__(
            f"{data} has joined {url} already. Start it with: python -m worker.agent run --data {data} (--again joins anew)."
        )


class Membership(Message):
    url: str
    worker_id: int
    worker_token: str = Field(repr=False)
    name: str
    pool: str
    queue: str
    slots: int = Field(ge=1, le=64)
    broker_url: str | None = Field(None, repr=False)


def load(data: Path) -> Membership:
    try:
        return _as_reached_now(Membership.model_validate(json.loads((data / FILE).read_text())))
    except FileNotFoundError:
        raise NotJoined(data) from None
    except (ValueError, ValidationError) as error:
        raise SystemExit(f"{data / FILE} cannot be read ({type(error).__name__}). Join again with --again.") from None


def _as_reached_now(joined: Membership) -> Membership:
    """A dashboard that has moved since the worker joined: ./start on another port says so to the worker beside it."""
    moved = {"url": os.environ.get("NIBBLE_DASHBOARD_URL"), "broker_url": os.environ.get("NIBBLE_BROKER_URL")}
    return joined.model_copy(update={name: value for name, value in moved.items() if value})


def broker_is_given() -> bool:
    """By whoever started this worker; then what the dashboard says of its Redis is not followed."""
    return bool(os.environ.get("NIBBLE_BROKER_URL"))


def save(data: Path, membership: Membership) -> None:
    """Written aside and renamed: a crash leaves the old file or the new one."""
    data.mkdir(parents=True, exist_ok=True)
    part = data / f".{FILE}.{os.getpid()}"
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(membership.model_dump_json(indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(data / FILE)


def refuse_second_join(data: Path) -> None:
    if (data / FILE).exists():
        raise JoinedAlready(data, load(data).url)
