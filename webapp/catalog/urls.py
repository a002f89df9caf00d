"""Addresses of the catalogue."""

from django.urls import path

from webapp.catalog import views

urlpatterns = [
    path("", views.model_list, name="model-list"),
    path("add/", views.model_add, name="model-add"),
    path("<int:pk>/", views.model_detail, name="model-detail"),
    path("<int:pk>/check/", views.model_check, name="model-check"),
    path("<int:pk>/remove/", views.model_remove, name="model-remove"),
]
