"""Who asks, and for which job."""

from django.http import Http404, HttpRequest

from webapp.accounts.models import User
from webapp.jobs.models import Job
from webapp.jobs.selectors import job_for


def reader(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # LoginRequiredMiddleware
    return request.user


def job_or_404(request: HttpRequest, pk: int) -> Job:
    """Another team's job does not exist for the reader."""
    try:
        return job_for(reader(request), pk)
    except Job.DoesNotExist:
        raise Http404("There is no such job.") from None
