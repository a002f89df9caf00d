"""What the job page fetches beside its socket: chart points and log lines. Views only."""

from collections.abc import Iterator

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from webapp.accounts.models import User
from webapp.jobs.models import Job
from webapp.jobs.selectors import job_for, log_lines, log_text
from webapp.jobs.series import series_of

MOST_LINES = 2000


def _job(request: HttpRequest, pk: int) -> Job:
    assert isinstance(request.user, User)  # LoginRequiredMiddleware
    try:
        return job_for(request.user, pk)
    except Job.DoesNotExist:
        raise Http404 from None


def _number(request: HttpRequest, name: str, default: int) -> int:
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else default


@require_GET
def series(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(orjson.dumps(series_of(_job(request, pk))), content_type="application/json")


@require_GET
def log(request: HttpRequest, pk: int) -> HttpResponse:
    limit = min(max(_number(request, "limit", 500), 1), MOST_LINES)
    lines, more = log_lines(_job(request, pk), before=_number(request, "before", 0), limit=limit)
    return HttpResponse(orjson.dumps({"lines": lines, "more": more}), content_type="application/json")


@require_GET
def log_download(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    parts: Iterator[str] = log_text(job)
    response = HttpResponse("".join(parts), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job.pk}.log"'
    return response
