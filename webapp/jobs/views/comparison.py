"""Compare: the page, its table as a file, the curves of a job."""

import orjson
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from webapp.accounts.requests import user_of
from webapp.jobs.comparison import Asked, Comparison, View
from webapp.jobs.comparison_csv import as_csv
from webapp.jobs.curves import curves_of
from webapp.jobs.views.finding import job_or_404


def _asked(request: HttpRequest) -> Comparison:
    return Comparison(user_of(request), Asked.from_query(request.GET), View.from_query(request.GET))


@require_GET
def compare(request: HttpRequest) -> HttpResponse:
    """A form without scripts sends `jobs` several times; the address that one keeps has it once."""
    asked = _asked(request)
    if len(request.GET.getlist("jobs")) > 1 and not asked.asked.unread:
        return redirect(asked.address(asked.asked.numbers))
    return render(request, "jobs/compare.html", {"comparison": asked})


@require_GET
def compare_table(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(as_csv(_asked(request).columns), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="nibble-comparison.csv"'
    return response


@require_GET
def job_curves(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(orjson.dumps(curves_of(job_or_404(request, pk))), content_type="application/json")
