"""How a state looks: {{ job.status|tone }} for its chip."""

from uuid import uuid4

from django import template
from django.utils import timezone

from webapp.jobs.method_tags import stored_tags
from webapp.jobs.models import Job, Priority

register = template.Library()

TONES = {
    "draft": "",
    "queued": "info",
    "starting": "accent lively",
    "running": "good lively",
    "pausing": "warn lively",
    "paused": "warn",
    "stopping": "warn lively",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "",
}


PRIORITY_TONES = {Priority.LOW: "muted", Priority.NORMAL: "", Priority.HIGH: "warn", Priority.URGENT: "bad"}


@register.filter
def tone(status: str) -> str:
    return TONES.get(status, "")


@register.filter
def priority_tone(priority: int) -> str:
    return PRIORITY_TONES.get(Priority(priority), "")


@register.filter
def runtime(job: Job) -> float | None:
    """Seconds since a worker took the job, or until it ended; none before."""
    return ((job.ended_at or timezone.now()) - job.started_at).total_seconds() if job.started_at else None


@register.filter
def done_percent(job: Job) -> float:
    steps = job.progress.get("max_steps") or 0
    return min(100.0, 100.0 * job.progress.get("step", 0) / steps) if steps else 0.0


@register.filter
def method_tags(job: Job) -> tuple[str, str]:
    """(`QLoRA · r=16`, `SFT`) of a job in a list."""
    return stored_tags(job.spec)


@register.simple_tag
def new_word() -> str:
    """A word that no other page has: a form that is sent twice with it was sent once."""
    return uuid4().hex
