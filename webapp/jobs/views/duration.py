"""The duration among a dataset's statistics: served here, since past runs are what tells it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webapp.jobs.pool_times import pool_times
from webapp.tokenization.batching import batch_in
from webapp.tokenization.counting import counted_report
from webapp.tokenization.page import asked_of


@require_safe
def dataset_duration(request: HttpRequest, pk: int) -> HttpResponse:
    """For what the tab's fields have now; nothing where the rows were not counted: then the tab has no figures either."""
    asked = asked_of(request, pk)
    report = counted_report(asked.version, model=asked.model, reading=asked.reading) if asked.model else None
    if asked.model is None or report is None:
        return HttpResponse()
    batch = batch_in(request.GET.dict(), report=report)
    times = pool_times(asked.version, model=asked.model, reading=asked.reading, batch=batch)
    return render(request, "jobs/_duration.html", {"times": times, "batch": batch})
