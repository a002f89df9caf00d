"""Addresses of jobs."""

from django.urls import path

from webapp.jobs import feeds
from webapp.jobs.views import listing, page, submission

urlpatterns = [
    path("", listing.job_list, name="job-list"),
    path("new", submission.job_new, name="job-new"),
    path("preview", submission.job_preview, name="job-preview"),
    path("<int:pk>/", page.job_detail, name="job-detail"),
    path("<int:pk>/events/", page.job_events, name="job-events"),
    path("<int:pk>/logs/", page.job_logs, name="job-logs"),
    path("<int:pk>/config/", page.job_config, name="job-config"),
    path("<int:pk>/cancel", page.job_cancel, name="job-cancel"),
    path("<int:pk>/series.json", feeds.series, name="job-series"),
    path("<int:pk>/log.json", feeds.log, name="job-log"),
    path("<int:pk>/log.txt", feeds.log_download, name="job-log-text"),
]
