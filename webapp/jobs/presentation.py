"""What the job page says of a job beside its charts: head, progress, queue, failure, results. Reads, never writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.urls import reverse

from webapp.accounts.models import User
from webapp.jobs.attempt_story import AttemptTold, attempts_told, changes_told, marks_of
from webapp.jobs.clock import database_now
from webapp.jobs.comparison import pair_address
from webapp.jobs.controls import Controls
from webapp.jobs.execution_told import ExecutionTold, execution_told
from webapp.jobs.failure_cards import FailureCard, card_for
from webapp.jobs.loading_text import loading_snippet
from webapp.jobs.memory_story import MemoryStory, memory_story
from webapp.jobs.method_tags import tags_of
from webapp.jobs.models import ENDED_JOB, Attempt, Job, JobStatus
from webapp.jobs.pairs import GAVE_UP, twin_method, twin_of, why_no_twin
from webapp.jobs.selectors import ahead_of, queue_position
from webapp.jobs.settings_table import SettingGroup, settings_table
from webapp.jobs.stages import Stage, seconds_between, stages_of, waits_of
from webapp.jobs.state_told import state_sentence
from webapp.jobs.stored_spec import UNREADABLE, read_spec
from webapp.jobs.told import Told
from webapp.jobs.waiting import StartRange, expected_start, waiting_reason, why_no_start
from worker.contract.events import Results
from worker.contract.spec import FinetuneSpec

TABS = (
    ("live", "job-detail", "Live"),
    ("events", "job-events", "Events"),
    ("checkpoints", "job-checkpoints", "Checkpoints"),
    ("logs", "job-logs", "Log"),
    ("config", "job-config", "Config"),
)
MOST_AHEAD = 5
MODULES = [f"js/job_{name}.js" for name in ("detail", "feed", "log", "series", "head", "format", "charts", "marks")]


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class JobPage:
    job: Job
    reader: User
    tab: str

    @cached_property
    def spec(self) -> FinetuneSpec | None:
        return read_spec(self.job.spec)

    @property
    def unreadable(self) -> str:
        return "" if self.spec else UNREADABLE

    @property
    def progress(self) -> Mapping[str, Any]:
        progress: Mapping[str, Any] = self.job.progress
        return progress

    @property
    def tags(self) -> list[str]:
        return tags_of(self.spec) if self.spec else []

    @property
    def tabs(self) -> list[Tab]:
        return [Tab(label, reverse(name, args=[self.job.pk]), key == self.tab) for key, name, label in TABS]

    @cached_property
    def attempt(self) -> Attempt | None:
        return self.job.attempts.select_related("worker").order_by("-number").first()

    @cached_property
    def controls(self) -> Controls:
        return Controls(self.job, self.reader)

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
        return ahead_of(self.job, most=MOST_AHEAD)

    @property
    def ahead_told(self) -> list[tuple[Job, bool]]:
        return [(job, self.reader.is_admin or job.team_id == self.reader.team_id) for job in self.ahead]

    @cached_property
    def expected_start(self) -> StartRange | None:
        return expected_start(self.job)

    @property
    def why_no_start(self) -> str:
        return why_no_start(self.job)

    @property
    def is_backing_off(self) -> bool:
        """A retried job waits a little longer each time."""
        return self.job.not_before is not None and self.job.not_before > database_now()

    @property
    def most_retries(self) -> int:
        return int(settings.MAX_RETRIES)

    @property
    def state_sentence(self) -> str:
        return state_sentence(self.job)

    @property
    def changes(self) -> list[Told]:
        return changes_told(self.job)

    @property
    def attempts(self) -> list[AttemptTold]:
        return attempts_told(self.job)

    @property
    def stages(self) -> list[Stage]:
        return stages_of(self.job, waits_of(self.job))

    @property
    def memory(self) -> Mapping[str, int]:
        memory: Mapping[str, int] = self.progress.get("memory") or {}
        return memory

    @property
    def uses_gpu(self) -> bool:
        return "cuda_allocated_bytes" in self.memory

    @property
    def has_figures(self) -> bool:
        return "loss" in self.progress or (bool(self.memory) and not self.job.is_ended)

    @property
    def loss_change(self) -> float | None:
        first, now = self.progress.get("first_loss"), self.progress.get("loss")
        return None if first is None or now is None else now - first

    @property
    def loss_change_size(self) -> float:
        return abs(self.loss_change or 0.0)

    @cached_property
    def card(self) -> FailureCard:
        return card_for(self.job)

    @property
    def adapter(self) -> Any:
        return getattr(self.job, "adapter", None)  # none yet: Django raises an AttributeError

    @property
    def results(self) -> Results | None:
        return Results.model_validate(self.adapter.results) if self.adapter else None

    @property
    def execution(self) -> ExecutionTold | None:
        return execution_told(self.progress.get("plan") or {})

    @cached_property
    def memory_story(self) -> MemoryStory | None:
        return memory_story(self.job)

    @cached_property
    def twin(self) -> Job | None:
        return twin_of(self.job)

    @property
    def twin_spec(self) -> FinetuneSpec | None:
        return read_spec(self.twin.spec) if self.twin else None

    @property
    def twin_method(self) -> str:
        return (twin_method(self.spec) or "") if self.spec else ""

    @property
    def pair_address(self) -> str:
        return pair_address(self.job)

    @property
    def offers_twin(self) -> bool:
        """Once it runs: before that, changing one's mind costs nothing."""
        return bool(self.twin_method) and self.job.started_at is not None

    @property
    def why_no_twin(self) -> str:
        return why_no_twin(self.job, by=self.reader)

    @property
    def may_run_twin(self) -> bool:
        """Another one: the twin that there is came to an end before its time."""
        return self.twin is not None and self.twin.status in GAVE_UP and not self.why_no_twin

    @property
    def snippet(self) -> str:
        return loading_snippet(self.spec) if self.spec else ""

    @property
    def setting_groups(self) -> list[SettingGroup]:
        return settings_table(self.spec) if self.spec else []

    @property
    def seconds(self) -> float | None:
        return seconds_between(self.job.started_at, self.job.ended_at)

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
            "estimate": self.progress.get("estimated_peak_bytes"),
            "peak": self.job.measured_peak_bytes or 0,
            "marks": marks_of(self.job) if self.tab == "live" else None,
            **addresses,
        }


def job_page(job: Job, reader: User, *, tab: str) -> JobPage:
    return JobPage(job, reader, tab)
