"""Addresses of jobs."""

from django.urls import path

from webapp.jobs import feeds
from webapp.jobs.views import actions, checkpoints, comparison, listing, page, pairing, queue, submission

urlpatterns = [
    path("", listing.job_list, name="job-list"),
    path("new", submission.job_new, name="job-new"),
    path("pair", pairing.job_pair, name="job-pair"),
    path("selected", actions.jobs_selected, name="jobs-selected"),
    path("queue/<int:pk>/", queue.pool_queue, name="pool-queue"),
    path("queue/<int:pk>/move", queue.queue_move, name="queue-move"),
    path("preview", submission.job_preview, name="job-preview"),
    path("<int:pk>/", page.job_detail, name="job-detail"),
    path("<int:pk>/events/", page.job_events, name="job-events"),
    path("<int:pk>/logs/", page.job_logs, name="job-logs"),
    path("<int:pk>/config/", page.job_config, name="job-config"),
    path("<int:pk>/checkpoints/", checkpoints.job_checkpoints, name="job-checkpoints"),
    path("<int:pk>/checkpoints/<int:checkpoint>/<str:name>", checkpoints.checkpoint_file, name="checkpoint-file"),
    path("<int:pk>/twin", pairing.job_twin, name="job-twin"),
    path("<int:pk>/curves.json", comparison.job_curves, name="job-curves"),
    path("<int:pk>/cancel", actions.job_cancel, name="job-cancel"),
    path("<int:pk>/pause", actions.job_pause, name="job-pause"),
    path("<int:pk>/resume", actions.job_resume, name="job-resume"),
    path("<int:pk>/retry", actions.job_retry, name="job-retry"),
    path("<int:pk>/priority", actions.job_priority, name="job-priority"),
    path("<int:pk>/series.json", feeds.series, name="job-series"),
    path("<int:pk>/log.json", feeds.log, name="job-log"),
    path("<int:pk>/log.txt", feeds.log_download, name="job-log-text"),
]
