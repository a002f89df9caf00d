"""Addresses of datasets."""

from django.urls import path

from webapp.datasets.views import comparing, deriving, fetching, mapping, near_duplicates, reading, tus, writing

urlpatterns = [
    path("", reading.dataset_list, name="dataset-list"),
    path("upload/", writing.dataset_upload, name="dataset-upload"),
    path("uploads/", tus.uploads, name="uploads"),
    path("uploads/<uuid:pk>/", tus.upload, name="upload"),
    path("fetch/<str:kind>/", fetching.dataset_fetch, name="dataset-fetch"),
    path("<int:pk>/fetching/", fetching.fetch_progress, name="dataset-fetching"),
    path("<int:pk>/fetch-again/", fetching.dataset_fetch_again, name="dataset-fetch-again"),
    path("<int:pk>/", reading.dataset_detail, name="dataset-detail"),
    path("<int:pk>/problems/", reading.dataset_detail, {"tab": "problems"}, name="dataset-problems"),
    path("<int:pk>/versions/", reading.dataset_detail, {"tab": "versions"}, name="dataset-versions"),
    path("<int:pk>/jobs/", reading.dataset_detail, {"tab": "jobs"}, name="dataset-jobs"),
    path("<int:pk>/versions/add/", writing.version_upload, name="dataset-version-add"),
    path("<int:pk>/versions/<int:number>/file/", reading.version_download, name="dataset-file"),
    path("<int:pk>/versions/<int:number>/bad-rows/", reading.bad_rows_download, name="dataset-bad-rows"),
    path("<int:pk>/versions/<int:number>/problems.csv", reading.problems_download, name="dataset-problems-file"),
    path("<int:pk>/versions/<int:number>/check/", writing.version_check, name="dataset-version-check"),
    path("<int:pk>/versions/<int:number>/clean/", deriving.version_clean, name="dataset-clean"),
    path("<int:pk>/versions/<int:number>/split/", deriving.version_split, name="dataset-split"),
    path("<int:pk>/versions/<int:number>/sample/", deriving.version_sample, name="dataset-sample"),
    path("<int:pk>/versions/<int:number>/merge/", deriving.version_merge, name="dataset-merge"),
    path("<int:pk>/versions/<int:number>/delete/", deriving.version_delete, name="dataset-version-delete"),
    path("<int:pk>/versions/<int:number>/changes/", comparing.version_changes, name="dataset-changes"),
    path("<int:pk>/versions/<int:number>/mapping/", mapping.version_mapping, name="dataset-mapping"),
    path(
        "<int:pk>/versions/<int:number>/near-duplicates/", near_duplicates.version_near_duplicates, name="dataset-near-duplicates"
    ),
    path("<int:pk>/rename/", writing.dataset_rename, name="dataset-rename"),
    path("<int:pk>/delete/", writing.dataset_delete, name="dataset-delete"),
]
