"""What the job page says of a job beside its charts: head, progress, queue, failure, results. Reads, never writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, get_args

from django.urls import reverse

from webapp.accounts.models import User
from webapp.accounts.permissions import may_change
from webapp.jobs.models import ENDED_JOB, HELD_JOB, Attempt, Job, JobStatus
from webapp.jobs.selectors import ahead_of, log_lines, queue_position, waiting_reason
from webapp.jobs.spec_fields import GROUPS, SpecField, as_text, spec_fields
from webapp.jobs.spec_text import loading_snippet
from worker.contract.events import Results
from worker.contract.quantization import BitsAndBytes4Bit
from worker.contract.spec import FinetuneSpec

TABS = (
    ("live", "job-detail", "Live"),
    ("events", "job-events", "Events"),
    ("logs", "job-logs", "Log"),
    ("config", "job-config", "Config"),
)
MOST_AHEAD = 5
EVIDENCE_LINES = 12
MODULES = [f"js/job_{name}.js" for name in ("detail", "feed", "log", "series", "head", "format", "charts")]
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class Stage:
    """A stretch of the job's life on the progress strip; `since` is set while it lasts."""

    label: str
    seconds: float | None
    since: str = ""


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class SettingRow:
    title: str
    name: str
    value: str
    is_default: bool


@dataclass(frozen=True)
class SettingGroup:
    title: str
    rows: list[SettingRow]


@dataclass(frozen=True)
class JobPage:
    job: Job
    reader: User
    tab: str

    @cached_property
    def spec(self) -> FinetuneSpec:
        return FinetuneSpec.model_validate(self.job.spec)

    @property
    def progress(self) -> Mapping[str, Any]:
        progress: Mapping[str, Any] = self.job.progress
        return progress

    @property
    def tags(self) -> list[str]:
        quantization = self.spec.quantization
        dtype = quantization.bnb_4bit_compute_dtype if isinstance(quantization, BitsAndBytes4Bit) else quantization.dtype
        return [f"{self.spec.method} · r={self.spec.lora.r}", self.spec.kind.upper(), DTYPES[dtype]]

    @property
    def tabs(self) -> list[Tab]:
        return [Tab(label, reverse(name, args=[self.job.pk]), key == self.tab) for key, name, label in TABS]

    @cached_property
    def attempt(self) -> Attempt | None:
        return self.job.attempts.select_related("worker").order_by("-number").first()

    @property
    def may_stop(self) -> bool:
        return not self.job.is_ended and may_change(self.reader, self.job)

    @property
    def may_save(self) -> bool:
        """A job that no worker holds has nothing to save; one that was told to discard cannot go back."""
        return self.job.status in HELD_JOB and not self.job.stop_requested

    @property
    def percent(self) -> float:
        if self.job.status == JobStatus.SUCCEEDED:
            return 100.0
        steps = self.progress.get("max_steps") or 0
        return min(100.0, 100.0 * self.progress.get("step", 0) / steps) if steps else 0.0

    @cached_property
    def position(self) -> int:
        return queue_position(self.job)

    @property
    def waiting_reason(self) -> str:
        return waiting_reason(self.job)

    @cached_property
    def ahead(self) -> list[Job]:
        """The next of those before it; a team's names are for that team alone."""
        return list(ahead_of(self.job).select_related("owner").order_by("-priority", "queued_at", "pk")[:MOST_AHEAD])

    @property
    def ahead_told(self) -> list[tuple[Job, bool]]:
        return [(job, self.reader.is_admin or job.team_id == self.reader.team_id) for job in self.ahead]

    @property
    def last_change(self) -> str:
        """Why it is where it is, for a job that was stopped or that a worker gave back."""
        was_given_back = self.job.status == JobStatus.QUEUED and self.attempt is not None
        if not was_given_back and self.job.status not in (JobStatus.STOPPING, JobStatus.CANCELLED):
            return ""
        state = self.job.events.filter(kind="state").order_by("-cursor").first()
        return str(state.data.get("why", "")) if state else ""

    @property
    def stages(self) -> list[Stage]:
        return stages_of(self.job)

    @property
    def memory(self) -> Mapping[str, int]:
        memory: Mapping[str, int] = self.progress.get("memory") or {}
        return memory

    @property
    def uses_gpu(self) -> bool:
        return "cuda_allocated_bytes" in self.memory

    @property
    def has_figures(self) -> bool:
        return "step" in self.progress or bool(self.memory)

    @property
    def loss_change(self) -> float | None:
        first, now = self.progress.get("first_loss"), self.progress.get("loss")
        return None if first is None or now is None else now - first

    @property
    def loss_change_size(self) -> float:
        return abs(self.loss_change or 0.0)

    @property
    def evidence(self) -> list[dict[str, Any]]:
        """The last errors of the log, else its last lines."""
        lines, _ = log_lines(self.job, before=0, limit=100)
        loud = [line for line in lines if line["level"] == "error"]
        return (loud or lines)[-EVIDENCE_LINES:]

    @property
    def adapter(self) -> Any:
        return getattr(self.job, "adapter", None)  # none yet: Django raises an AttributeError

    @property
    def results(self) -> Results | None:
        return Results.model_validate(self.adapter.results) if self.adapter else None

    @property
    def snippet(self) -> str:
        return loading_snippet(self.spec)

    @property
    def settings(self) -> list[SettingGroup]:
        return settings_table(self.spec)

    @property
    def seconds(self) -> float | None:
        return _seconds(self.job.started_at, self.job.ended_at)

    @property
    def modules(self) -> list[str]:
        return MODULES

    @property
    def live(self) -> dict[str, Any]:
        """For static/js/job_*.js: where to read on, and from which event."""
        addresses = {name: reverse(f"job-{name}", args=[self.job.pk]) for name in ("series", "log")}
        cursor, status = self.job.last_cursor, self.job.status
        return {
            "id": self.job.pk,
            "cursor": cursor,
            "status": status,
            "ended": self.job.status in ENDED_JOB,
            "tab": self.tab,
            **addresses,
        }


def job_page(job: Job, reader: User, *, tab: str) -> JobPage:
    return JobPage(job, reader, tab)


def stages_of(job: Job) -> list[Stage]:
    """Queued first, then the phases that the worker told of, each once with all its time: evaluations come again and again."""
    since = _since(job)
    waited = None if since else _seconds(job.queued_at, job.started_at or job.ended_at)
    stages = {"Queued": Stage("Queued", waited, since=since)}
    for phase in job.progress.get("phases", []):
        label, began = capitalised(phase["phase"]), datetime.fromisoformat(phase["at"])
        before = stages[label].seconds or 0.0 if label in stages else 0.0
        if phase.get("ended_at"):
            lasted = _seconds(began, datetime.fromisoformat(phase["ended_at"])) or 0.0
            stages[label] = Stage(label, before + lasted)
        else:
            since = "" if job.is_ended else (began - timedelta(seconds=before)).isoformat()
            stages[label] = Stage(label, before or None, since=since)
    return list(stages.values())


def _since(job: Job) -> str:
    return job.queued_at.isoformat() if job.status == JobStatus.QUEUED and job.queued_at else ""


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - begin).total_seconds()) if begin and end else None


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def settings_table(spec: FinetuneSpec) -> list[SettingGroup]:
    stored = spec.model_dump(mode="json")
    rows: dict[str, list[SettingRow]] = {group.name: [] for group in GROUPS}
    for field in spec_fields():
        if field.of_kind in ("", stored[field.group].get("kind", "")):
            rows[field.group].append(_row(field, stored[field.group][field.name]))
    return [SettingGroup(group.title, rows[group.name]) for group in GROUPS]


def _row(field: SpecField, value: Any) -> SettingRow:
    return SettingRow(field.title, field.name, _told(field, value), as_text(value) == field.default_text)


def _told(field: SpecField, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "automatic" if bool in get_args(field.info.annotation) else "not set"
    return as_text(value)
