"""What the pages, the sockets and the API read of jobs. Nothing here writes."""

from collections.abc import Iterator
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.utils import timezone

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.jobs.models import Job, JobEvent, JobStatus
from webapp.jobs.order import jobs_in_order, order_of, place_of
from webapp.jobs.waiting import waiting_reason as waiting_reason


def jobs_for(user: User) -> QuerySet[Job]:
    """Newest first, with what a list shows."""
    related = ("owner", "team", "pool", "base_model", "dataset_version__dataset", "adapter")
    return visible_to(user, Job.objects.select_related(*related)).order_by("-pk")


def job_for(user: User, pk: int) -> Job:
    """Raises Job.DoesNotExist for a job that is not there and for one of another team alike."""
    return jobs_for(user).get(pk=pk)


def ahead_of(job: Job, *, most: int | None = None) -> list[Job]:
    """Queued jobs of the same pool that will be taken before this one, the next to be taken first; at most `most`."""
    ordered = order_of(job.pool_id)
    return jobs_in_order(ordered[: place_of(job, ordered)][:most])


def queue_position(job: Job) -> int:
    """1 is next. 0 for a job that is not queued."""
    return place_of(job, order_of(job.pool_id)) + 1 if job.status == JobStatus.QUEUED else 0


def events_after(job_id: int, cursor: int, *, limit: int) -> list[dict[str, Any]]:
    """Events with a higher cursor, oldest first, as the socket and the API send them."""
    rows = JobEvent.objects.filter(job=job_id, cursor__gt=cursor).order_by("cursor")[:limit]
    return [
        {"cursor": number, "kind": kind, "at": at.isoformat(), "data": data}
        for number, kind, at, data in rows.values_list("cursor", "kind", "at", "data")
    ]


def last_cursor(job_id: int) -> int:
    """Number of the newest event; 0 for a job that is gone."""
    return Job.objects.values_list("last_cursor", flat=True).filter(pk=job_id).first() or 0


def live_view(job_id: int) -> dict[str, Any]:
    """What each socket message says of the job beside its new events."""
    status, progress = Job.objects.values_list("status", "progress").get(pk=job_id)
    return {"status": status, "status_label": JobStatus(status).label, "progress": progress}


def watchers_allowed(job_id: int, watchers: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those (user id, session key) that are still signed in, enabled and may see the job."""
    team = Job.objects.values_list("team_id", flat=True).filter(pk=job_id).first()
    users = User.objects.filter(pk__in={user for user, _ in watchers}, is_active=True)
    seeing = {user.pk for user in users if user.is_admin or user.team_id == team}
    sessions = Session.objects.filter(session_key__in={key for _, key in watchers}, expire_date__gt=timezone.now())
    alive = set(sessions.values_list("session_key", flat=True))
    return {(user, key) for user, key in watchers if user in seeing and key in alive}


def log_lines(job: Job, *, before: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """(the last `limit` lines with a cursor below `before` (0: the newest), oldest first; whether older ones are there)."""
    lines = JobEvent.objects.filter(job=job.pk, kind="log")
    older = lines.filter(cursor__lt=before) if before else lines
    rows = list(older.order_by("-cursor").values_list("cursor", "at", "data")[: limit + 1])
    newest = [
        {"cursor": cursor, "at": at.isoformat(), "level": data.get("level", "info"), "text": data["text"]}
        for cursor, at, data in reversed(rows[:limit])
    ]
    return newest, len(rows) > limit


def log_text(job: Job) -> Iterator[str]:
    """The whole log, a line at a time, with UTC times."""
    rows = JobEvent.objects.filter(job=job.pk, kind="log").order_by("cursor").values_list("at", "data")
    for at, data in rows.iterator(chunk_size=2000):
        yield f"{at:%Y-%m-%dT%H:%M:%S.%f}Z {data.get('level', 'info'):7} {data['text']}\n"
    if left_out := job.progress.get("log_left_out", 0):
        yield f"… {left_out:,} lines were left out above: the log had reached its largest size.\n"


TOLD = ("state", "phase", "notice", "plan", "replanned", "priority", "ended", "failed", "queue")
TOLD_OF_CHECKPOINTS = ("checkpoint", "checkpoint_kept", "checkpoint_rejected")


def state_events(job: Job) -> QuerySet[JobEvent]:
    """The Events tab: every change of state and of the plan, notices, checkpoints, attempts that went wrong; oldest first."""
    wrong = Q(kind="attempt", data__to__in=("lost", "fenced"))
    events = job.events.filter(Q(kind__in=TOLD + TOLD_OF_CHECKPOINTS) | wrong)
    return events.select_related("actor", "attempt__worker").order_by("cursor")
