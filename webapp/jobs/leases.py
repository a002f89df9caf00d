"""Who may still speak for a job: the worker of an open attempt, under its fence."""

from datetime import timedelta

from django.conf import settings

from webapp.jobs.clock import database_now
from webapp.jobs.models import OPEN_ATTEMPT, Attempt


class StaleAttempt(Exception):
    """The attempt was closed or given away; what it sends now must change nothing."""


def renew_lease(attempt: Attempt, *, fence: int) -> None:
    """Raises StaleAttempt. The UPDATE locks the attempt's row until the transaction ends: nobody closes it meanwhile."""
    lease_until = database_now() + timedelta(seconds=settings.LEASE_SECONDS)
    held = Attempt.objects.filter(pk=attempt.pk, fence=fence, status__in=OPEN_ATTEMPT)
    if not held.update(lease_until=lease_until):
        raise StaleAttempt
