"""What a reader may do to a job now; what they may not do yet says what would make it possible."""

from dataclasses import dataclass
from functools import cached_property

from webapp.accounts.models import User
from webapp.accounts.permissions import may_change
from webapp.jobs.checkpoints import newest_checkpoint
from webapp.jobs.models import HELD_JOB, OPEN_ATTEMPT, Checkpoint, Job, JobStatus, Priority
from webapp.jobs.services import PAUSES_SINCE

S = JobStatus
NOT_PAUSABLE = {
    S.QUEUED: "The job waits, so there is nothing to pause. It can be paused once a worker runs it; now, lower its priority or cancel it.",
    S.PAUSING: "It is being paused already. Resume is there as soon as its checkpoint is kept.",
    S.STOPPING: "It is stopping, and a stop cannot become a pause. When it has ended, retry goes on from its last checkpoint.",
}
LOWER_ONLY = "Only administrators raise a priority; you may lower it."
AT_LOWEST = "The priority is the lowest there is. An administrator can raise it."


@dataclass(frozen=True)
class PriorityChoice:
    value: int
    label: str
    is_now: bool
    is_open: bool


@dataclass(frozen=True)
class Controls:
    """Of one job for one reader. Empty `why_not`: the button works."""

    job: Job
    reader: User

    @property
    def may_change(self) -> bool:
        return may_change(self.reader, self.job)

    @property
    def shows_pause(self) -> bool:
        return self.may_change and self.job.status in (S.STARTING, S.RUNNING, *NOT_PAUSABLE)

    @property
    def why_no_pause(self) -> str:
        return NOT_PAUSABLE.get(S(self.job.status), "") or self._too_old

    @property
    def _too_old(self) -> str:
        held = self.job.attempts.filter(status__in=OPEN_ATTEMPT, worker__protocol__lt=PAUSES_SINCE).select_related("worker").first()
        return f"Worker {held.worker.name} is of an older version and cannot pause. An administrator updates it." if held else ""

    @property
    def shows_resume(self) -> bool:
        return self.may_change and self.job.status == S.PAUSED

    @property
    def shows_stop(self) -> bool:
        return self.may_change and not self.job.is_ended

    @property
    def may_save(self) -> bool:
        """A job that no worker holds has no adapter to save; one that was told to discard cannot go back."""
        return self.job.status in HELD_JOB and not self.job.stop_requested

    @property
    def shows_retry(self) -> bool:
        return self.may_change and self.job.status in (S.FAILED, S.CANCELLED)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """From which a retry or a resumed job goes on."""
        return newest_checkpoint(self.job)

    @property
    def shows_priority(self) -> bool:
        return not self.job.is_ended

    @property
    def priorities(self) -> list[PriorityChoice]:
        now = self.job.priority
        offered = [choice for choice in Priority if choice < Priority.URGENT or self.reader.is_admin or now == choice]
        return [PriorityChoice(choice, choice.label, choice == now, self._may_give(choice)) for choice in reversed(offered)]

    def _may_give(self, priority: Priority) -> bool:
        return self.may_change and (self.reader.is_admin or priority <= self.job.priority)

    @property
    def why_no_priority(self) -> str:
        if not self.may_change:
            return "Only the owner of a job and administrators change its priority."
        open_ones = [choice for choice in self.priorities if choice.is_open]
        return AT_LOWEST if len(open_ones) == 1 else ""

    @property
    def priority_hint(self) -> str:
        return "" if self.reader.is_admin or self.why_no_priority else LOWER_ONLY
