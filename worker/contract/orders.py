"""The door's messages: what a worker posts and what it gets back. Paths are under /worker/v1/.

POST register          Registration    -> Registered       (bearer: one-time join token)
POST heartbeat         Heartbeat       -> HeartbeatReply   (bearer: worker token, as all below)
POST claim             Claim           -> WorkOrder, or 204 when there is nothing to do
POST attempts/N/events EventBatch      -> Order, or 409 stale_attempt
GET  attempts/N/dataset?fence=F&sha256=H -> the bytes that the order's DatasetRef names
GET  attempts/N/resume/NAME?fence=F    -> the bytes of a file of the checkpoint that WorkOrder.resume names
PUT  attempts/N/checkpoints/STEP/NAME?fence=F&sha256=H   raw bytes -> 201; 422 when the hash differs
POST attempts/N/checkpoints  CheckpointUploaded -> Order; 409 file_missing; the checkpoint is kept whole or not at all
PUT  attempts/N/files/NAME?fence=F&sha256=H   raw bytes -> 201; 422 when the hash differs
POST attempts/N/finish Finish          -> Order, or 409 stale_attempt
PUT  models/N/tokenizer/NAME?sha256=H         raw bytes -> 201; 422 when the hash differs, 413 above 64 MiB
POST models/N/report   ModelReport     -> 204; 409 file_missing: put the tokenizer's files again
Every refusal is {"error": {"code", "message"}}.
"""

from typing import Annotated, Literal

from pydantic import Field

from worker.contract import PROTOCOL
from worker.contract.dataset import DatasetRef
from worker.contract.events import AnyEvent, FailureCause, Results
from worker.contract.message import Message
from worker.contract.model_shape import BaseModelRef
from worker.contract.spec import FinetuneSpec

LEASE_SECONDS = 30.0
BATCH_SECONDS = 1.0  # the agent posts at most once in this time
HEARTBEAT_SECONDS = 5.0  # ... and at least once in this one
MAX_BATCH_EVENTS = 500
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


class GpuReport(Message):
    index: int = Field(ge=0, le=255)
    uuid: str = Field(max_length=100)
    name: str = Field(max_length=200)
    memory_total_bytes: int = Field(ge=0)
    memory_used_bytes: int = Field(ge=0)
    utilisation_percent: int | None = Field(None, ge=0, le=100)
    foreign_used_bytes: int | None = Field(None, ge=0)
    """Held by processes that are not this worker's, as seen while none of its own ran there."""


class KeptFiles(Message):
    """Files of one kind that the worker keeps, and what its policy would delete now."""

    kind: Literal["runs", "base_models", "datasets", "logs"]
    count: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    deletable_count: int = Field(0, ge=0)
    deletable_bytes: int = Field(0, ge=0)


class HostReport(Message):
    """What a worker machine has, now."""

    cpu_count: int = Field(ge=1)
    memory_total_bytes: int = Field(ge=0)
    memory_used_bytes: int = Field(ge=0)
    disk_free_bytes: int = Field(ge=0)
    disk_total_bytes: int | None = Field(None, ge=0)
    gpus: tuple[GpuReport, ...] = ()
    kept: tuple[KeptFiles, ...] = ()


class Registration(Message):
    protocol: int = PROTOCOL
    name: str = Field(min_length=1, max_length=100)
    slots: int = Field(1, ge=1, le=64)
    versions: dict[str, str] = {}
    host: HostReport


class Registered(Message):
    worker_id: int
    worker_token: str
    name: str
    """As the pool calls this worker: a name that was taken got a number."""
    pool: str
    queue: str
    """The Celery queue that rings for this pool."""
    broker_url: str | None = None
    """Redis as the worker should reach it; none: the worker asks every few seconds instead."""


class Heartbeat(Message):
    protocol: int = PROTOCOL
    host: HostReport
    versions: dict[str, str] = {}


class InspectModel(Message):
    model_id: int
    base_model: BaseModelRef
    hub_token: str | None = Field(None, repr=False)
    """For a gated model of the Hub."""


class HostPolicy(Message):
    """What the administrator set for the machines of this pool."""

    slots: int = Field(ge=1, le=64)
    """Jobs at once: GPUs × the pool's jobs a GPU (at least as many as were registered on a CPU)."""
    offline_limit_seconds: float = Field(gt=0)
    """A worker that cannot reach the dashboard trains on for so long, then saves a checkpoint and stops."""
    min_free_disk_bytes: int = Field(ge=0)
    """With less free disk no new job is claimed."""
    keep_runs_days: float = Field(ge=0)
    max_cache_bytes: int | None = Field(None, ge=0)
    """Base models and datasets that no run uses are removed, the longest unused first, above this. None: never."""


class HeartbeatReply(Message):
    state: Literal["enabled", "draining"]
    inspect: tuple[InspectModel, ...] = ()
    broker_url: str | None = Field(None, repr=False)
    """As at register: a Redis that moved to another address is followed."""
    policy: HostPolicy | None = None


class Claim(Message):
    protocol: int = PROTOCOL
    slot: int = Field(0, ge=0, le=63)
    free_memory_bytes: int = Field(ge=0)
    """Of the slot's GPU, or of the host for a CPU slot."""
    gpu_index: int | None = Field(None, ge=0, le=255)
    """As in HostReport.gpus; none for a CPU slot."""


class ArtifactFile(Message):
    name: str = Field(pattern=FILE_NAME)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ResumeFrom(Message):
    """A whole checkpoint that the dashboard keeps; files as CheckpointUploaded brought them."""

    step: int = Field(ge=1)
    files: tuple[ArtifactFile, ...] = Field(min_length=1)


class WorkOrder(Message):
    protocol: int = PROTOCOL
    attempt_id: int
    attempt_number: int = Field(ge=1)
    fence: int = Field(ge=1)
    """Rises with every attempt of a job; whatever comes with an older one is refused."""
    slots: tuple[int, ...] = Field((0,), min_length=1)
    """Slots of this host that the attempt holds, the asking one first; the trainer sees their GPUs."""
    job_id: int
    job_name: str
    lease_seconds: float = Field(gt=0)
    spec: FinetuneSpec
    dataset: DatasetRef
    dataset_name: str
    hub_token: str | None = Field(None, repr=False)
    resume: ResumeFrom | None = None
    """Go on from here; none: from the beginning."""


class CheckpointUploaded(Message):
    """All its files have been put; from now on the job may resume from it."""

    fence: int = Field(ge=1)
    step: int = Field(ge=1)
    files: tuple[ArtifactFile, ...] = Field(min_length=1, max_length=64)


class EventBatch(Message):
    """Lines first_seq, first_seq + 1, ... of the attempt's events.jsonl; an empty one is the heartbeat."""

    fence: int = Field(ge=1)
    first_seq: int = Field(ge=1)
    events: tuple[AnyEvent, ...] = Field((), max_length=MAX_BATCH_EVENTS)


class Order(Message):
    """The reply to a batch is the order back."""

    order: Literal["continue", "pause", "stop_and_save", "stop_and_discard"]
    """pause: save a checkpoint, send it, end the attempt as Checkpointed."""
    acked_seq: int = Field(ge=0)
    """The highest number stored without a gap; the agent goes on from the one after it."""


class Succeeded(Message):
    outcome: Literal["finished", "stopped_saved"]
    results: Results
    files: tuple[ArtifactFile, ...] = Field(min_length=1)


class Stopped(Message):
    outcome: Literal["stopped_discarded"] = "stopped_discarded"


class Checkpointed(Message):
    """The attempt ended with its work kept: the job goes on from its newest checkpoint, here or elsewhere, or waits paused."""

    outcome: Literal["checkpointed"] = "checkpointed"
    step: int = Field(ge=0)
    """0: nothing was trained yet that a checkpoint could keep."""
    why: Literal["asked", "draining", "offline"]


class Failed(Message):
    outcome: Literal["failed"] = "failed"
    cause: FailureCause
    message: str = Field(min_length=1, max_length=2000)
    advice: str = Field("", max_length=2000)
    exit_code: int | None = None
    step: int | None = Field(None, ge=0)
    rows: tuple[int, ...] = Field((), max_length=256)


class Finish(Message):
    fence: int = Field(ge=1)
    last_seq: int = Field(ge=0)
    """All lines up to this one must have been stored before, else 409 events_missing."""
    end: Annotated[Succeeded | Stopped | Checkpointed | Failed, Field(discriminator="outcome")]
