"""What a closed attempt still sends is refused and counted. The first word of a lost one that came back is an event."""

from django.db.models import F

from webapp.jobs.checkpoints import newest_checkpoint
from webapp.jobs.lifecycle import move_attempt
from webapp.jobs.models import OPEN_ATTEMPT, Attempt, AttemptStatus
from webapp.jobs.retries import step_of


def refuse_late(attempt: Attempt, *, told_step: int = 0) -> None:
    """`told_step` is the highest step that the refused message tells of. An attempt that is open was asked for under a wrong fence."""
    late = Attempt.objects.filter(pk=attempt.pk).exclude(status__in=OPEN_ATTEMPT)
    if not late.update(refused_posts=F("refused_posts") + 1):
        return
    attempt.refresh_from_db()
    if attempt.status == AttemptStatus.LOST:
        reached = max(step_of(attempt), told_step)
        went_on = _went_on_from(attempt)
        figures = {"told_step": reached, "went_on_from": went_on, "repeated_steps": max(0, reached - went_on)}
        move_attempt(attempt, AttemptStatus.FENCED, why=_sentence(attempt, reached=reached, went_on=went_on), told=figures)


def _went_on_from(attempt: Attempt) -> int:
    """The step at which the next attempt began, or will begin."""
    later = Attempt.objects.filter(job=attempt.job_id, number__gt=attempt.number).order_by("number").first()
    if later is not None:
        return later.first_step
    checkpoint = newest_checkpoint(attempt.job) or attempt.job.starts_from
    return checkpoint.step if checkpoint else 0


def _sentence(attempt: Attempt, *, reached: int, went_on: int) -> str:
    where = f"from step {went_on:,}" if went_on else "from the beginning"
    repeated = max(0, reached - went_on)
    lost = f" {repeated:,} {'step is' if repeated == 1 else 'steps are'} trained again." if repeated else ""
    told = f"Worker {attempt.worker.name} came back with attempt {attempt.number} (told of steps up to {reached:,}; "
    return f"{told}the job goes on {where}): refused.{lost}"
