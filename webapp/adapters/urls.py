"""Addresses of adapters."""

from django.urls import path

from webapp.adapters import views

urlpatterns = [
    path("", views.adapter_list, name="adapter-list"),
    path("<int:pk>/", views.adapter_detail, name="adapter-detail"),
    path("<int:pk>/download/", views.adapter_download, name="adapter-download"),
    path("<int:pk>/files/<str:name>", views.adapter_file, name="adapter-file"),
    path("<int:pk>/delete/", views.adapter_delete, name="adapter-delete"),
]
