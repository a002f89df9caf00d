"""Addresses of the Settings page."""

from django.urls import path

from webapp.upkeep import views

urlpatterns = [
    path("", views.settings_page, name="settings"),
    path("housekeeping", views.policy_change, name="housekeeping-policy"),
    path("hosts", views.host_open, name="host-open"),
    path("hosts/<int:pk>/close", views.host_close, name="host-close"),
    path("clean", views.clean_now, name="housekeeping-clean"),
]
