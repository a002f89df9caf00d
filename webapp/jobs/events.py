"""Stores events under the next cursors of their job. Whoever changes something of a job says so here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from webapp.accounts.models import User
from webapp.jobs.clock import database_now
from webapp.jobs.live import ring_job
from webapp.jobs.models import Attempt, Job, JobEvent


@dataclass(frozen=True)
class NewEvent:
    kind: str
    data: dict[str, Any]
    at: datetime
    seq: int | None = None


def append_events(job_id: int, events: Iterable[NewEvent], *, attempt: Attempt | None, by: User | None = None) -> int:
    """Stores events under the next cursors of the job and rings once the transaction is through. Returns the last cursor.

    Must run inside a transaction: the UPDATE locks the job's row, so cursors become visible in their order.
    """
    new = list(events)
    Job.objects.filter(pk=job_id).update(last_cursor=F("last_cursor") + len(new))
    last: int = Job.objects.values_list("last_cursor", flat=True).get(pk=job_id)
    rows = [
        JobEvent(job_id=job_id, cursor=cursor, kind=e.kind, data=e.data, at=e.at, attempt=attempt, seq=e.seq, actor=by)
        for cursor, e in enumerate(new, start=last - len(new) + 1)
    ]
    JobEvent.objects.bulk_create(rows)
    transaction.on_commit(lambda: ring_job(job_id))
    return last


def tell(job_id: int, kind: str, data: dict[str, Any], *, attempt: Attempt | None = None, by: User | None = None) -> None:
    """One event of the dashboard's own."""
    with transaction.atomic():
        append_events(job_id, [NewEvent(kind, data, database_now())], attempt=attempt, by=by)
