"""/api/v1/jobs/N/…: cancel, pause, resume, retry, priority. The same services and sentences as the pages."""

from typing import Literal

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import ConfigDict

from webapp.api.access import user_of
from webapp.api.jobs import visible_job
from webapp.api.shapes import JobDetail
from webapp.jobs.models import Priority
from webapp.jobs.selectors import job_for
from webapp.jobs.services import cancel_job, change_priority, pause_job, resume_job, retry_job

router = Router(tags=["jobs"])


class Wish(Schema):
    model_config = ConfigDict(extra="forbid")


class CancelIn(Wish):
    save: bool
    """Keep an adapter of what was learned so far."""


class RetryIn(Wish):
    from_checkpoint: bool = True
    """Go on from the newest checkpoint that is kept; false: from the beginning."""


class PriorityIn(Wish):
    priority: Literal[Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT]


@router.post("/{int:job_id}/cancel", response=JobDetail)
def cancel(request: HttpRequest, job_id: int, wish: CancelIn) -> JobDetail:
    """A waiting or paused job ends at once; a running one is asked to stop, and its worker ends it within seconds."""
    cancel_job(visible_job(request, job_id), by=user_of(request), save=wish.save)
    return as_it_is(request, job_id)


@router.post("/{int:job_id}/pause", response=JobDetail)
def pause(request: HttpRequest, job_id: int) -> JobDetail:
    """Its worker saves a checkpoint and gives the job back; it is `pausing` until then."""
    pause_job(visible_job(request, job_id), by=user_of(request))
    return as_it_is(request, job_id)


@router.post("/{int:job_id}/resume", response=JobDetail)
def resume(request: HttpRequest, job_id: int) -> JobDetail:
    """A paused job joins the end of the queue and goes on from its newest checkpoint."""
    resume_job(visible_job(request, job_id), by=user_of(request))
    return as_it_is(request, job_id)


@router.post("/{int:job_id}/retry", response={201: JobDetail})
def retry(request: HttpRequest, job_id: int, wish: RetryIn) -> Status[JobDetail]:
    """A new job like one that failed or was cancelled; that one never changes."""
    made = retry_job(visible_job(request, job_id), by=user_of(request), from_checkpoint=wish.from_checkpoint)
    return Status(201, as_it_is(request, made.pk))


@router.post("/{int:job_id}/priority", response=JobDetail)
def priority(request: HttpRequest, job_id: int, wish: PriorityIn) -> JobDetail:
    """Owners may lower it, administrators may give any."""
    change_priority(visible_job(request, job_id), by=user_of(request), priority=wish.priority)
    return as_it_is(request, job_id)


def as_it_is(request: HttpRequest, job_id: int) -> JobDetail:
    return JobDetail.of(job_for(user_of(request), job_id))
