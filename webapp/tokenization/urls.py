"""Addresses below a dataset's: how its rows look to a base model."""

from django.urls import path

from webapp.tokenization import views

urlpatterns = [
    path("<int:pk>/statistics/", views.dataset_statistics, name="dataset-statistics"),
    path("<int:pk>/statistics/batch/", views.dataset_batch, name="dataset-batch"),
    path("<int:pk>/as-the-model-sees-it/", views.dataset_tokens, name="dataset-tokens"),
]
