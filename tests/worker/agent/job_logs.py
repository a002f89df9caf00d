"""What a job's log holds on the dashboard."""

from webapp.jobs.models import Job, JobEvent


def logs(job: Job) -> list[str]:
    return [event.data["text"] for event in JobEvent.objects.filter(job=job, kind="log").order_by("cursor")]


def digest(job: Job) -> str:
    """The scripted trainer's sum over all steps, as the attempt that finished told it."""
    return next(text for text in reversed(logs(job)) if text.startswith("digest "))
