"""What agent and standby say to one another: the standby holds the trainer's libraries, and a run is a fork of it.

One message each way over a Unix socket that stays open as long as the run: Start, then Started or Refused, then Ended.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

MESSAGE_BYTES = 1 << 17
MARK = "NIBBLE_STARTED_BY"
"""Whose processes these are, in the environment of each."""
SOCKET = "socket"
READY = "ready.json"
"""Ready, as long as the standby takes runs."""
# Read when a run begins, or by nobody before: a fork may have them otherwise than the process it comes from.
MAY_DIFFER = (
    "NIBBLE_",
    "CUDA_VISIBLE_DEVICES",
    "RANK",
    "LOCAL_",
    "WORLD_SIZE",
    "MASTER_",
    "ACCELERATE_",
    "FSDP_",
    "NCCL_",
    "GLOO_",
    "TORCH_NCCL_",
)


class Spoken(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(Spoken):
    """Comes with two files: where the run writes, and a pipe whose other end the agent alone holds."""

    kind: Literal["start"] = "start"
    run: Path
    environment: dict[str, str]
    mark: str
    signature: str
    """Of the files that a new process would import now."""


class Started(Spoken):
    kind: Literal["started"] = "started"
    pid: int


class Refused(Spoken):
    kind: Literal["refused"] = "refused"
    why: str


class Ended(Spoken):
    kind: Literal["ended"] = "ended"
    code: int
    """As of subprocess: -9 for a run that SIGKILL ended."""


class Ready(Spoken):
    """What is known of a standby that takes runs."""

    pid: int
    seconds: float
    """It took to import the libraries."""
    memory_bytes: int
    """That nobody else uses: what the machine would have free without it."""
    modules: int


reply_of: TypeAdapter[Started | Refused | Ended] = TypeAdapter(Started | Refused | Ended)


def differing(now: dict[str, str], then: dict[str, str]) -> list[str]:
    """Names whose values libraries have read already, and that are others now."""
    names = {name for name in {*now, *then} if not name.startswith(MAY_DIFFER)}
    return sorted(name for name in names if now.get(name) != then.get(name))
