"""What an attempt tells: one line of events.jsonl each; its sequence number is the number of its line (1, 2, ...).

Agent and trainer both append whole lines with O_APPEND, so neither has to know what the other wrote.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from worker.contract.message import Message
from worker.contract.plan import ExecutionPlan, PassPlan

LOG_LINE_CHARS = 4096

FailureCause = Literal[
    "bad_config",
    "bad_data",
    "model_unavailable",
    "out_of_memory",
    "diverged",
    "disk_full",
    "trainer_killed",
    "trainer_stalled",
    "host_out_of_memory",
    "node_trouble",
    "checkpoint_unusable",
    "upload_failed",
    "internal",
]


class Event(Message):
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class PhaseStarted(Event):
    """Shown beside the status: fetching data, loading base model, quantising, training, evaluating, saving, uploading."""

    kind: Literal["phase"] = "phase"
    phase: str = Field(min_length=1, max_length=80)
    detail: str = Field("", max_length=500)


class LogWritten(Event):
    kind: Literal["log"] = "log"
    level: Literal["info", "warning", "error"] = "info"
    text: str = Field(max_length=LOG_LINE_CHARS)


class PlanMade(Event):
    """Said once before the first step: what is going to run, with the arithmetic."""

    kind: Literal["plan"] = "plan"
    max_steps: int = Field(ge=1)
    epochs: float = Field(gt=0)
    train_rows: int = Field(ge=1)
    train_bins: int | None = Field(None, ge=1)
    """Under packing: what a step takes `effective_batch` of, instead of rows."""
    eval_rows: int = Field(ge=0)
    train_tokens: int = Field(ge=0)
    """Tokens in all training rows, after cutting."""
    trained_tokens: int = Field(ge=0)
    """Those of them that the loss is computed on."""
    cut_rows: int = Field(ge=0)
    effective_batch: int = Field(ge=1)
    trainable_parameters: int = Field(ge=1)
    parameters: int = Field(ge=1)
    target_modules: tuple[str, ...]
    mask: str
    """Which rule chose the trained tokens, in words."""
    device: str
    optim: str
    """The optimizer that really runs (unpaged on a CPU)."""
    versions: dict[str, str]
    rows_a_pass: int | None = Field(None, ge=1)
    passes_a_step: int | None = Field(None, ge=1)
    activation_checkpointing: bool | None = None
    execution: ExecutionPlan | None = None
    memory_parts: dict[str, int] = {}
    """worker.contract.vram.MemoryParts of this run under this plan, in bytes: what the measurement is held against."""
    resumed_from_step: int | None = Field(None, ge=0)
    """Set when the run goes on from a checkpoint: what was told of later steps before is told again."""


class MetricsLogged(Event):
    kind: Literal["metrics"] = "metrics"
    step: int = Field(ge=0)
    epoch: float = Field(ge=0)
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    tokens_seen: int | None = None
    seconds_left: float | None = None
    measures: dict[str, float] = Field({}, max_length=32)
    """What else the objective tells, under TRL's names: rewards/accuracies, rewards/margins, kl, mean_token_accuracy, ..."""


class MemorySampled(Event):
    """Bytes. On a CPU only `rss_bytes` (the trainer's resident memory) is there."""

    kind: Literal["memory"] = "memory"
    step: int = Field(ge=0)
    rss_bytes: int = Field(ge=0)
    cuda_allocated_bytes: int | None = None
    cuda_reserved_bytes: int | None = None
    cuda_peak_bytes: int | None = None
    """Largest allocation so far (torch.cuda.max_memory_allocated)."""
    card_used_bytes: int | None = None
    card_total_bytes: int | None = None
    utilisation_percent: int | None = None


class CheckpointSaved(Event):
    kind: Literal["checkpoint"] = "checkpoint"
    step: int = Field(ge=0)
    size_bytes: int = Field(ge=0)


class CheckpointRejected(Event):
    """A checkpoint that is torn, or of other settings; the one before it is tried. Never silent."""

    kind: Literal["checkpoint_rejected"] = "checkpoint_rejected"
    step: int = Field(ge=0)
    file: str = Field("", max_length=200)
    reason: str = Field(min_length=1, max_length=500)


class Replanned(Event):
    """CUDA ran out of memory: a new trainer goes on within the same attempt, with a smaller plan."""

    kind: Literal["replanned"] = "replanned"
    before: PassPlan
    after: PassPlan
    from_step: int = Field(ge=0)
    """The checkpoint that it goes on from; 0: from the beginning."""
    why: str = Field(max_length=500)


class NoticeGiven(Event):
    """Something that the user should know and that is no failure: a fallback, a cut, a retry."""

    kind: Literal["notice"] = "notice"
    text: str = Field(max_length=2000)


class Results(Message):
    """Final figures of a run; they also stand in the adapter's model card."""

    steps: int = Field(ge=0)
    epochs: float = Field(ge=0)
    final_loss: float | None = None
    first_loss: float | None = None
    eval_loss: float | None = None
    best_step: int | None = Field(None, ge=0)
    """The step whose weights are the result, when the best checkpoint was asked for; eval_loss is theirs."""
    train_seconds: float = Field(ge=0)
    tokens_seen: int = Field(ge=0)
    peak_memory_bytes: int = Field(ge=0)
    peak_memory_of: Literal["cuda_allocated", "rss"] = "rss"


class TrainingEnded(Event):
    """The trainer's last word when it ended in order: finished, or stopped because it was asked to."""

    kind: Literal["ended"] = "ended"
    outcome: Literal["finished", "stopped_saved", "stopped_discarded", "checkpointed"]
    """checkpointed: stopped at results.steps with a checkpoint from which the run goes on later."""
    results: Results


class TrainingFailed(Event):
    kind: Literal["failed"] = "failed"
    cause: FailureCause
    message: str = Field(min_length=1, max_length=2000)
    """One sentence for the user: what happened."""
    advice: str = Field("", max_length=2000)
    """What to change."""
    step: int | None = Field(None, ge=0)
    rows: tuple[int, ...] = Field((), max_length=256)
    """Lines of the dataset file in the batch at fault (1 is the first)."""


AnyEvent = Annotated[
    PhaseStarted
    | LogWritten
    | PlanMade
    | MetricsLogged
    | MemorySampled
    | CheckpointSaved
    | CheckpointRejected
    | Replanned
    | NoticeGiven
    | TrainingEnded
    | TrainingFailed,
    Field(discriminator="kind"),
]
parse_event: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def append_event(path: Path, event: Event) -> None:
    """Appends one line in one write, so that lines of two processes never mix."""
    line = json.dumps(event.model_dump(mode="json", exclude_none=True), allow_nan=False, ensure_ascii=True) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
