"""The job that an address names, for the one who asks."""

from django.http import Http404, HttpRequest

from webapp.accounts.requests import user_of
from webapp.jobs.models import Job
from webapp.jobs.selectors import job_for


def job_or_404(request: HttpRequest, pk: int) -> Job:
    """Another team's job does not exist for the reader."""
    try:
        return job_for(user_of(request), pk)
    except Job.DoesNotExist:
        raise Http404("There is no such job.") from None
