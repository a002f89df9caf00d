"""One job: live, its events, its checkpoints, its log, its configuration."""

import json

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from webapp.accounts.requests import user_of
from webapp.jobs.attempt_story import attempts_told
from webapp.jobs.presentation import job_page
from webapp.jobs.selectors import state_events
from webapp.jobs.spec_python import as_python
from webapp.jobs.spec_text import as_json, as_yaml
from webapp.jobs.told import told_events
from webapp.jobs.views.finding import job_or_404


@require_GET
def job_detail(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_or_404(request, pk)
    return render(request, "jobs/detail.html", {"page": job_page(job, user_of(request), tab="live")})


@require_GET
def job_events(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_or_404(request, pk)
    context = {
        "page": job_page(job, user_of(request), tab="events"),
        "attempts": attempts_told(job),
        "events": told_events(state_events(job)),
    }
    return render(request, "jobs/events.html", context)


@require_GET
def job_logs(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/logs.html", {"page": job_page(job_or_404(request, pk), user_of(request), tab="logs")})


@require_GET
def job_config(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_or_404(request, pk)
    page = job_page(job, user_of(request), tab="config")
    if page.spec is None:
        return render(request, "jobs/config_unread.html", {"page": page, "json": json.dumps(job.spec, indent=2)})
    version = job.dataset_version
    python = as_python(page.spec, dataset_file=version.file_name, rows_format=version.format)
    texts = {"yaml": as_yaml(page.spec), "json": as_json(page.spec), "python": python}
    return render(request, "jobs/config.html", {"page": page, **texts})
