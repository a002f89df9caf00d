"""All addresses: pages by app, the workers' door, the public API."""

from django.urls import include, path

from webapp.health import healthz, readyz
from webapp.jobs.views.comparison import compare, compare_table
from webapp.jobs.views.duration import dataset_duration
from webapp.overview import overview

handler500 = "webapp.outages.answer_error"
urlpatterns = [
    path("", overview, name="overview"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("", include("webapp.accounts.urls")),
    path("datasets/", include("webapp.datasets.urls")),
    path("datasets/", include("webapp.tokenization.urls")),
    path("datasets/<int:pk>/statistics/duration/", dataset_duration, name="dataset-duration"),
    path("models/", include("webapp.catalog.urls")),
    path("jobs/", include("webapp.jobs.urls")),
    path("compare/", compare, name="compare"),
    path("compare/table.csv", compare_table, name="compare-table"),
    path("adapters/", include("webapp.adapters.urls")),
    path("pools/", include("webapp.pools.urls")),
    path("settings/", include("webapp.upkeep.urls")),
    path("worker/v1/", include("webapp.worker_api.urls")),
    path("api/v1/", include("webapp.api.urls")),
]
